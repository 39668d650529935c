// Positions that outlast a page: with `sessionStorage` a page that is loaded again goes on where it was.
//
// Invariants: what is kept is a position whose events the application was given; the text is not kept, so whoever
// takes one up marks it as partial. A store that fails (full, forbidden) costs the memory and nothing else.

/** `sessionStorage`, `localStorage`, or anything like them. */
export interface Store {
  /** What was set under the key, or null. */
  getItem(key: string): string | null;
  /** May throw: then nothing is remembered. */
  setItem(key: string, value: string): void;
}

export class Memory {
  readonly #store: Store | undefined;
  readonly #prefix: string;

  constructor(store: Store | undefined, base: string) {
    this.#store = store;
    this.#prefix = `tidewire ${base} `;
  }

  get(key: string): string | null | undefined {
    try {
      return this.#store?.getItem(this.#prefix + key);
    } catch {
      // then nothing was kept
    }
  }

  set(key: string, value: string): void {
    try {
      this.#store?.setItem(this.#prefix + key, value);
    } catch {
      // a page that cannot keep it begins anew
    }
  }
}
