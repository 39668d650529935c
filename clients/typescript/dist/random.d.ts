/** 26 characters of `0-9a-v`: 130 random bits. */
export declare function randomId(): string;
