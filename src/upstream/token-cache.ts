import { LRUCache } from 'lru-cache';
import { WindlassError } from '../errors.ts';
import type { Token, TokenRequest } from './token-server.ts';

const MAX_TOKENS = 1_000;
/** A token is not used in the last part of its life: the request that carries it takes time, and clocks differ. */
const MARGIN_SHARE = 0.1;
const MAX_MARGIN_MS = 30_000;

export interface TokenCacheOptions {
  readonly fetch: (request: TokenRequest, signal: AbortSignal) => Promise<Token>;
  /** For one token, however many wait for it. */
  readonly timeoutMs: number;
  readonly now: () => number;
}

/** Tokens by realm, service, scope and credentials. Each is fetched once however many ask, and kept for its life. */
export class TokenCache {
  readonly #options: TokenCacheOptions;
  readonly #tokens = new LRUCache<string, { readonly text: string; readonly useUntil: number }>({ max: MAX_TOKENS });
  readonly #fetching = new Map<string, Promise<string>>();

  constructor(options: TokenCacheOptions) {
    this.#options = options;
  }

  /** A caller that leaves does not end the fetch for the others. */
  async get(request: TokenRequest, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const key = keyOf(request);
    const known = this.#tokens.get(key);
    if (known !== undefined && this.#options.now() < known.useUntil) return known.text;
    let fetching = this.#fetching.get(key);
    if (fetching === undefined) {
      fetching = this.#fetch(key, request).finally(() => this.#fetching.delete(key));
      this.#fetching.set(key, fetching);
    }
    return abandonable(fetching, signal);
  }

  /** The registry refused this token. Another one, fetched meanwhile, stays. */
  forget(request: TokenRequest, text: string): void {
    const key = keyOf(request);
    if (this.#tokens.get(key)?.text === text) this.#tokens.delete(key);
  }

  async #fetch(key: string, request: TokenRequest): Promise<string> {
    const { fetch, timeoutMs, now } = this.#options;
    const askedAt = now();
    const timeout = AbortSignal.timeout(timeoutMs);
    let token: Token;
    try {
      token = await fetch(request, timeout);
    } catch (error) {
      if (!timeout.aborted) throw error;
      throw new WindlassError('UPSTREAM_UNAVAILABLE', `${request.realm.host}: no token within ${timeoutMs} ms`);
    }
    const { text, lifeMs } = token;
    this.#tokens.set(key, { text, useUntil: askedAt + lifeMs - Math.min(lifeMs * MARGIN_SHARE, MAX_MARGIN_MS) });
    return text;
  }
}

function keyOf({ realm, service, scope, credentials }: TokenRequest): string {
  return JSON.stringify([realm.href, service, scope, credentials?.fingerprint]);
}

function abandonable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
