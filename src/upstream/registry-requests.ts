import { hasCode, WindlassError } from '../errors.ts';
import type { Authorizer } from './authorizer.ts';
import type { Answer } from './exchange.ts';
import type { MeteredExchange, RequestKind } from './metered-exchange.ts';
import { redirectTarget } from './redirect.ts';
import type { RequestBudget, Slot } from './request-budget.ts';
import { parseRetryAfter, type RestPeriod } from './rest-period.ts';
import { markedDown, nameOf, type RequestName, statusFailure } from './upstream-failure.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

export interface RegistryRequest {
  readonly kind: RequestKind;
  readonly method: 'GET' | 'HEAD';
  readonly repository: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface RegistryAnswer extends Answer {
  readonly name: RequestName;
  /** After a redirect a 403 is about a signed address, not about us. */
  readonly redirected: boolean;
}

export interface RegistryRequestsOptions {
  readonly registry: string;
  readonly endpoint: URL;
  readonly exchange: MeteredExchange;
  readonly authorizer: Authorizer;
  readonly budget: RequestBudget;
  readonly rest: RestPeriod;
  readonly now: () => number;
}

/**
 * Requests to one registry: each waits for its turn and for the end of a pause, carries authorisation to the
 * registry's own host alone, and follows redirects.
 */
export class RegistryRequests {
  readonly #options: RegistryRequestsOptions;

  constructor(options: RegistryRequestsOptions) {
    this.#options = options;
  }

  /**
   * @returns the answer, whatever its status but 429 and 5xx (501 passes). The slot is held until its body is
   * over: read, left or discarded.
   */
  async send(request: RegistryRequest): Promise<RegistryAnswer> {
    const slot = await this.#turn(request);
    try {
      const answer = await this.#follow(request);
      answer.over.then(() => slot.release());
      return answer;
    } catch (error) {
      slot.release();
      throw error;
    }
  }

  async #turn({ kind, method, repository, signal }: RegistryRequest): Promise<Slot> {
    const { budget, rest } = this.#options;
    const urgent = kind !== 'blob' || method === 'HEAD';
    for (;;) {
      await rest.pass(signal);
      const slot = await budget.acquire({ repository, urgent, signal });
      if (!rest.active) return slot;
      slot.release(); // a pause began while this one was queued; so all that are queued learn of it, one by one
    }
  }

  async #follow(request: RegistryRequest): Promise<RegistryAnswer> {
    const { registry, endpoint, authorizer } = this.#options;
    const { method, repository, signal } = request;
    const name: RequestName = { method, registry, path: request.url.pathname };
    // By origin: what one host was sent is never sent to another.
    const authorizations = new Map<string, string>();
    const known = await this.#authorized(authorizer.current(repository, signal));
    if (known !== undefined) authorizations.set(endpoint.origin, known);
    const challenged = new Set<string>();
    let redirects = 0;
    for (let url = request.url; ; ) {
      const authorization = authorizations.get(url.origin);
      const headers = authorization === undefined ? request.headers : { ...request.headers, authorization };
      const answer = await this.#sendTo(url, headers, name, request);
      const { status, body } = answer;
      if (status === 401 && !challenged.has(url.origin)) {
        challenged.add(url.origin);
        body.discard();
        const header = answer.headers['www-authenticate'];
        const challenge = { header, repository, from: url, refused: authorization, signal };
        const fresh = await this.#authorized(authorizer.answer(challenge));
        if (fresh !== undefined) {
          authorizations.set(url.origin, fresh);
          continue;
        }
      }
      if (!REDIRECTS.includes(status)) return { ...answer, name, redirected: redirects > 0 };
      body.discard();
      redirects += 1;
      if (redirects > MAX_REDIRECTS) {
        throw new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: more than ${MAX_REDIRECTS} redirects`);
      }
      url = redirectTarget(url, answer.headers.location, name);
    }
  }

  /** @throws as the exchange, and for 429 and 5xx; the error tells whether the registry itself is down. */
  async #sendTo(
    url: URL,
    headers: Readonly<Record<string, string>>,
    name: RequestName,
    { kind, method, signal }: RegistryRequest,
  ): Promise<Answer> {
    const { endpoint, exchange, now } = this.#options;
    const sentAtMs = now();
    try {
      const answer = await exchange.send({ kind, method, url, name, headers, signal });
      this.#heed(answer, name, sentAtMs);
      return answer;
    } catch (error) {
      throw url.origin === endpoint.origin && exchange.isDirect(url) ? markedDown(error) : error;
    }
  }

  /** @throws for 429 and 5xx; what they say of resting holds for every caller of this registry. */
  #heed(answer: Answer, name: RequestName, sentAtMs: number): void {
    const { rest } = this.#options;
    const { status, headers, body } = answer;
    if (status < 400) rest.succeeded();
    if (status !== 429 && (status < 500 || status === 501)) return;
    body.discard();
    // "0 seconds" is no rest: after 429 it is as good as none said.
    const retryAfterMs = parseRetryAfter(headers['retry-after'], headers.date) || undefined;
    const asked = status === 429 || (status === 503 && retryAfterMs !== undefined);
    throw statusFailure(answer, name, asked ? rest.begin(retryAfterMs, sentAtMs) : undefined);
  }

  /** A token server's 429 holds for the registry as well: no request gets through without a token. */
  async #authorized<T>(authorization: Promise<T>): Promise<T> {
    const { rest, now } = this.#options;
    const askedAtMs = now();
    try {
      return await authorization;
    } catch (error) {
      if (hasCode(error, 'UPSTREAM_RATE_LIMITED')) rest.begin(error.retryAfterMs, askedAtMs);
      throw error;
    }
  }
}
