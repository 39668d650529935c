// Ids that nobody else has.

/** 26 characters of `0-9a-v`: 130 random bits. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(26)), (byte) => (byte & 31).toString(32)).join('');
}
