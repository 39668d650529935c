// Server-sent events, from chunks of text to blocks (WHATWG HTML, section 9.2.6).
//
// Invariant: a block counts when the whole block is there (the empty line came); what was cut is dropped with the
// reader. Bound: `MAX_BLOCK` characters of one block.
import { RetryableError } from './errors.js';

/** The snapshots of one topic (4 MiB of text) come one by one, but a compact end may be as large. */
export const MAX_BLOCK = 16 << 20;

export interface Block {
  /** The JSON of `data:`. */
  data: any;
  id: string | undefined;
}

export class BlockReader {
  /** Milliseconds of the last `retry:`. */
  retry: number | undefined;
  #rest = '';

  /** The blocks that are whole with this text. */
  push(text: string): Block[] {
    const blocks: Block[] = [];
    const all = this.#rest + text;
    // a block ends where two line ends meet; a lone CR at the end may be half of one
    const ends = /\r\n\r\n|\n\n|\r\r(?!\n|$)/g;
    let from = 0;
    for (let end = ends.exec(all); end; end = ends.exec(all)) {
      const block = this.#parse(all.slice(from, end.index));
      if (block) blocks.push(block);
      from = ends.lastIndex;
    }
    this.#rest = all.slice(from);
    if (this.#rest.length > MAX_BLOCK) throw new RetryableError('too_large', 'the broker sent a block beyond all bounds');
    return blocks;
  }

  #parse(lines: string): Block | undefined {
    let data = '';
    let id: string | undefined;
    for (const line of lines.split(/\r\n|\n|\r/)) {
      // `s`: U+2028 and U+2029 end no line here
      const [, name, value] = /^(\w+):? ?(.*)$/s.exec(line) ?? [];
      if (name === 'data') data += data ? `\n${value}` : value;
      else if (name === 'id') id = value;
      else if (name === 'retry') this.retry = Number(value) || undefined;
    }
    return data ? { data: JSON.parse(data), id } : undefined;
  }
}
