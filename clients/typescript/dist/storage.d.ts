/** `sessionStorage`, `localStorage`, or anything like them. */
export interface Store {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
}
export declare class Memory {
    #private;
    constructor(store: Store | undefined, base: string);
    get(key: string): string | null;
    set(key: string, value: string): void;
}
