// The token: asked for when there is none, again before it ends, and never used again once it was refused.
import { asError, RetryableError, TerminalError } from './errors.js';

/** Brings a token, within 30 seconds. After what it throws it is asked again, unless that is a `TerminalError`. */
export type GetToken = () => string | Promise<string>;

/** How long the application may take to bring a token, in milliseconds. */
const GET_TIMEOUT = 30_000;
/** Tokens in a row that may be refused. */
const REFUSALS = 3;

export class Tokens {
  #token: string | undefined;
  #refused: string | undefined;
  #asking: Promise<string> | undefined;
  #since = Date.now();
  #refusals = 0;
  readonly #get: GetToken | undefined;

  constructor(token: string | undefined, get: GetToken | undefined) {
    this.#token = token;
    this.#get = get;
  }

  /** The token to use now; undefined: none is needed. */
  async current(): Promise<string | undefined> {
    return this.#token ?? (this.#get ? this.renew() : undefined);
  }

  /** The broker did not take this one: it is not used again. Throws if there cannot be another. */
  refuse(token: string | undefined, why: Error): void {
    if (!this.#get || ++this.#refusals > REFUSALS) throw why;
    this.#refused = token;
    if (this.#token === token) this.#token = undefined;
  }

  /** The broker took it. */
  worked(): void {
    this.#refusals = 0;
  }

  /** Another token, before the present one ends. */
  renew(): Promise<string> {
    return (this.#asking ??= this.#ask().finally(() => (this.#asking = undefined)));
  }

  /** When the present token should be renewed, in Unix milliseconds; Infinity: nobody knows. */
  get renewAt(): number {
    const ends = this.#get ? expiry(this.#token) : Infinity;
    // a minute before it ends, or a tenth of its life
    return ends - Math.min(60_000, Math.max(0, ends - this.#since) / 10);
  }

  async #ask(): Promise<string> {
    const token = await new Promise<string>((resolve, reject) => {
      const late = new RetryableError('token_timeout', 'getToken did not answer');
      const timer = setTimeout(reject, GET_TIMEOUT, late);
      const asked = (async () => this.#get!())();
      asked.then(resolve, (error) => reject(asError(error, 'get_token_failed'))).finally(() => clearTimeout(timer));
    });
    if (typeof token !== 'string' || token === this.#refused) {
      throw new TerminalError('token_refused', 'getToken brought the refused token again; let it fetch a new one');
    }
    this.#since = Date.now();
    return (this.#token = token);
  }
}

/** The `exp` of a JSON Web Token, in Unix milliseconds. */
function expiry(token = ''): number {
  try {
    const claims = atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'));
    return JSON.parse(claims).exp * 1000 || Infinity;
  } catch {
    return Infinity;
  }
}
