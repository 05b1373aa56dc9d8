import { WindlassError } from '../errors.ts';
import { basicAuthorization, type Credentials } from './credentials.ts';
import type { Answer } from './exchange.ts';
import type { MeteredExchange } from './metered-exchange.ts';
import { redirectTarget } from './redirect.ts';
import { parseRetryAfter } from './rest-period.ts';
import { nameOf, type RequestName, statusFailure } from './upstream-failure.ts';

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_REDIRECTS = 5;
/** The token specification's value where a server says none. */
const DEFAULT_LIFE_MS = 60_000;

export interface TokenRequest {
  readonly realm: URL;
  readonly service: string | undefined;
  /** Scopes, separated by spaces. */
  readonly scope: string;
  readonly credentials: Credentials | undefined;
}

export interface Token {
  readonly text: string;
  readonly lifeMs: number;
}

export interface TokenServerOptions {
  readonly registry: string;
  readonly exchange: MeteredExchange;
}

/**
 * The registry's token endpoint. Asked by GET, which all of them know; POST (OAuth 2) only where the credentials
 * are a refresh token, and GET again where that is refused.
 */
export class TokenServer {
  readonly #options: TokenServerOptions;

  constructor(options: TokenServerOptions) {
    this.#options = options;
  }

  async fetch(request: TokenRequest, signal: AbortSignal): Promise<Token> {
    const { realm, credentials } = request;
    const identityToken = credentials?.identityToken;
    const name: RequestName = { method: 'GET', registry: this.#options.registry, path: realm.origin + realm.pathname };
    let answer: Answer;
    if (identityToken !== undefined) {
      const posted = await this.#post(request, identityToken, { ...name, method: 'POST' }, signal);
      if (posted.status === 200) return readToken(posted, { ...name, method: 'POST' });
      posted.body.discard();
    }
    answer = await this.#get(request, name, signal);
    if (answer.status === 200) return readToken(answer, name);
    answer.body.discard();
    const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], answer.headers.date);
    // Here 400 and 404 are about the scope or the account; nothing is said of the repository's content.
    if (answer.status >= 400 && answer.status < 429) {
      const message = `${nameOf(name)}: no token, upstream answered ${answer.status}`;
      throw new WindlassError('UPSTREAM_UNAUTHORIZED', message, { upstreamStatus: answer.status });
    }
    throw statusFailure(answer, name, retryAfterMs);
  }

  #post(request: TokenRequest, identityToken: string, name: RequestName, signal: AbortSignal): Promise<Answer> {
    const { realm, service, scope } = request;
    const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'windlass', scope });
    form.set('refresh_token', identityToken);
    if (service !== undefined) form.set('service', service);
    const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
    return this.#options.exchange.send({
      kind: 'token',
      method: 'POST',
      url: realm,
      name,
      headers,
      body: form.toString(),
      signal,
    });
  }

  async #get(request: TokenRequest, name: RequestName, signal: AbortSignal): Promise<Answer> {
    const { realm, service, scope, credentials } = request;
    let url = new URL(realm);
    if (service !== undefined) url.searchParams.append('service', service);
    for (const part of scope.split(' ')) if (part !== '') url.searchParams.append('scope', part);
    for (let redirects = 0; ; redirects += 1) {
      const headers: Record<string, string> = { accept: 'application/json' };
      if (credentials !== undefined && url.origin === realm.origin) {
        const password = credentials.identityToken ?? credentials.password;
        headers.authorization = basicAuthorization({ username: credentials.username, password });
      }
      const answer = await this.#options.exchange.send({ kind: 'token', method: 'GET', url, name, headers, signal });
      if (answer.status < 301 || answer.status > 308 || answer.status === 304) return answer;
      answer.body.discard();
      if (redirects === MAX_REDIRECTS) throw nonsense(name, `more than ${MAX_REDIRECTS} redirects`);
      url = redirectTarget(url, answer.headers.location, name);
    }
  }
}

async function readToken(answer: Answer, name: RequestName): Promise<Token> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) {
    chunks.push(chunk);
    if (answer.body.receivedBytes > MAX_ANSWER_BYTES) throw nonsense(name, 'a token answer without end');
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw nonsense(name, 'a token answer that is not JSON');
  }
  const fields: Record<string, unknown> = typeof json === 'object' && json !== null ? { ...json } : {};
  const { token, access_token: accessToken, expires_in: expiresIn } = fields;
  const text = typeof token === 'string' && token !== '' ? token : accessToken;
  // What cannot stand in a header is refused here: a later error would quote it.
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text)) throw nonsense(name, 'a token answer without a token');
  const lifeMs = typeof expiresIn === 'number' && expiresIn > 0 ? expiresIn * 1000 : DEFAULT_LIFE_MS;
  return { text, lifeMs };
}

function nonsense(name: RequestName, what: string): WindlassError {
  return new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: ${what}`);
}
