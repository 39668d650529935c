export function append(parts, part, kind, text) {
    // the one that grows is nearly always the last
    const held = parts.findLast((p) => p.part === part && p.kind === kind);
    if (held)
        held.text += text;
    else
        parts.push({ part, kind, text });
}
/** The text of one kind, its parts joined. */
export function textOf(parts, kind) {
    return parts.reduce((text, p) => (p.kind === kind ? text + p.text : text), '');
}
/** What a snapshot or a compact end event says, replacing all but the beginnings that it omits and that are held. */
export function replaced(held, by) {
    return by.map(({ part = 0, kind = 'text', text, omitted = 0 }) => {
        const mine = omitted > 0 ? held.find((p) => p.part === part && p.kind === kind) : undefined;
        const missing = mine?.omitted ?? 0;
        const head = mine && omitted >= missing ? beginning(mine.text, omitted - missing) : undefined;
        const left = head === undefined ? omitted : missing;
        const whole = { part, kind, text: (head ?? '') + text };
        return left > 0 ? { ...whole, omitted: left } : whole;
    });
}
/** `message.completed` with `text`: the whole answer replaces the parts of kind `text`. */
export function completeWith(parts, text) {
    const first = parts.findIndex((p) => p.kind === 'text');
    const others = parts.filter((p) => p.kind !== 'text');
    // only other kinds stand before the first of kind text, so its place is still right
    others.splice(first < 0 ? others.length : first, 0, { part: parts[first]?.part ?? 0, kind: 'text', text });
    return others;
}
/** The first `bytes` UTF-8 bytes of a text; undefined where it is shorter or they end inside a character. */
function beginning(text, bytes) {
    const all = new TextEncoder().encode(text);
    // the byte behind must begin a character
    if (all.length < bytes || (all[bytes] & 0xc0) === 0x80)
        return undefined;
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(all.subarray(0, bytes));
}
