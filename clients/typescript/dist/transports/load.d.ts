export declare function http(): Promise<typeof import('./http.js')>;
