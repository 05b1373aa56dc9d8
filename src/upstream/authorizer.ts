import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { WindlassError } from '../errors.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { basicAuthorization, type CredentialSource } from './credentials.ts';
import { mayHaveCredentials } from './realm-trust.ts';
import type { TokenCache } from './token-cache.ts';
import type { TokenRequest } from './token-server.ts';

/** Repositories whose challenge is remembered, so that the next request needs no 401. */
const MAX_REPOSITORIES = 1_000;

export interface ChallengeAnswer {
  readonly header: string | undefined;
  readonly repository: string;
  /** Who challenges. Only the registry's own host is ever answered with stored credentials. */
  readonly from: URL;
  /** The Authorization header that was refused. */
  readonly refused: string | undefined;
  readonly signal: AbortSignal;
}

export interface AuthorizerOptions {
  readonly registry: string;
  readonly endpoint: URL;
  /** The registry's host names, without port: as clients say it, and the endpoint's. */
  readonly hostnames: readonly string[];
  readonly credentials: CredentialSource;
  readonly tokens: TokenCache;
  readonly logger: Logger;
}

/** What a repository's last challenge asked for. */
type Known = { readonly scheme: 'basic' } | { readonly scheme: 'bearer'; readonly challenge: Challenge };

/** Authorization headers for one registry: Basic, or a bearer token as its challenge says. */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #known = new LRUCache<string, Known>({ max: MAX_REPOSITORIES });
  readonly #warnedRealms = new Set<string>();

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** For the registry's own host; undefined until it challenged for this repository. */
  async current(repository: string, signal: AbortSignal): Promise<string | undefined> {
    const known = this.#known.get(repository);
    if (known === undefined) return undefined;
    if (known.scheme === 'basic') return this.#basic(repository);
    return this.#bearer(await this.#tokenRequest(known.challenge, repository, this.#options.endpoint), signal);
  }

  /** @returns a header that was not refused yet, or undefined if there is no answer to this challenge. */
  async answer(options: ChallengeAnswer): Promise<string | undefined> {
    const { header, repository, from, refused, signal } = options;
    const own = from.origin === this.#options.endpoint.origin;
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
    if (bearer !== undefined) {
      const request = await this.#tokenRequest(bearer, repository, from);
      if (refused?.startsWith('Bearer ') === true)
        this.#options.tokens.forget(request, refused.slice('Bearer '.length));
      const authorization = await this.#bearer(request, signal);
      if (own) this.#known.set(repository, { scheme: 'bearer', challenge: bearer });
      return authorization;
    }
    if (!own || !challenges.some(({ scheme }) => scheme === 'basic')) return undefined;
    const authorization = await this.#basic(repository);
    if (authorization === undefined || authorization === refused) return undefined;
    this.#known.set(repository, { scheme: 'basic' });
    return authorization;
  }

  async #basic(repository: string): Promise<string | undefined> {
    const credentials = await this.#options.credentials.find(repository);
    return credentials && basicAuthorization(credentials);
  }

  async #bearer(request: TokenRequest, signal: AbortSignal): Promise<string> {
    return `Bearer ${await this.#options.tokens.get(request, signal)}`;
  }

  async #tokenRequest({ parameters }: Challenge, repository: string, from: URL): Promise<TokenRequest> {
    const { registry, endpoint, hostnames, credentials, logger } = this.#options;
    const realm = realmOf(parameters.get('realm') ?? '', from, registry);
    const own = from.origin === endpoint.origin;
    let stored = own ? await credentials.find(repository) : undefined;
    if (stored !== undefined && !mayHaveCredentials(realm.hostname, hostnames)) {
      stored = undefined;
      if (!this.#warnedRealms.has(realm.host) && this.#warnedRealms.size < MAX_REPOSITORIES) {
        this.#warnedRealms.add(realm.host);
        logger.warn({ realm: realm.host }, 'token server outside of the registry’s domain: asked without credentials');
      }
    }
    return {
      realm,
      service: parameters.get('service') || undefined,
      scope: parameters.get('scope') || `repository:${repository}:pull`,
      credentials: stored,
    };
  }
}

/** @throws UPSTREAM_NONSENSE: a realm must be HTTP, and HTTPS where the registry is. */
function realmOf(text: string, from: URL, registry: string): URL {
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  const right = realm?.protocol === 'https:' || (realm?.protocol === 'http:' && from.protocol === 'http:');
  if (realm === undefined || !right) {
    const shown = JSON.stringify(realm === undefined ? text.slice(0, 200) : realm.origin);
    throw new WindlassError('UPSTREAM_NONSENSE', `${registry}: token server at ${shown} is not to be trusted`);
  }
  realm.username = '';
  realm.password = '';
  realm.hash = '';
  return realm;
}
