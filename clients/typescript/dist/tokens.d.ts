export type GetToken = () => string | Promise<string>;
export declare class Tokens {
    #private;
    constructor(token: string | undefined, get: GetToken | undefined);
    /** The token to use now; undefined: none is needed. */
    current(): Promise<string | undefined>;
    /** The broker did not take this one: it is not used again. Throws if there cannot be another. */
    refuse(token: string | undefined, why: Error): void;
    /** The broker took it. */
    worked(): void;
    /** Another token, before the present one ends. */
    renew(): Promise<string>;
    /** When the present token should be renewed, in Unix milliseconds; Infinity: nobody knows. */
    get renewAt(): number;
}
