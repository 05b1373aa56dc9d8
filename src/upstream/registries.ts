import type { lookup } from 'node:dns';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { RegistrySettings } from '../config/registry-settings.ts';
import { WindlassError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { AddressGuard, isSpecialHost } from './address-guard.ts';
import { AllowList, type AllowListMatch } from './allow-list.ts';
import { Authorizer } from './authorizer.ts';
import { credentialSource } from './credentials.ts';
import { credentialHosts, endpointOf } from './endpoint.ts';
import { MeteredExchange } from './metered-exchange.ts';
import { ProxyChoice } from './proxy-choice.ts';
import type { Registries, RegistryClient } from './registry-client.ts';
import { RegistryRequests } from './registry-requests.ts';
import { RequestBudget } from './request-budget.ts';
import { RestPeriod } from './rest-period.ts';
import { TlsFiles } from './tls-files.ts';
import { TokenCache } from './token-cache.ts';
import { TokenServer } from './token-server.ts';
import { Transport } from './transport.ts';
import { UpstreamRegistry } from './upstream-registry.ts';

/** Hosts that a wildcard allowed: so many clients are kept, the least recently used one's connections closed. */
const MAX_WILDCARD_CLIENTS = 64;

export interface RegistriesOptions {
  readonly registries: readonly RegistrySettings[];
  /** `upstream.proxy`: of an HTTP proxy, or empty: HTTPS_PROXY and HTTP_PROXY count. NO_PROXY counts in both cases. */
  readonly proxy: string;
  /** `upstream.ca`: PEM files that are trusted as well, for every registry. */
  readonly ca: readonly string[];
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Sent as User-Agent: `windlass/1.2.3`. */
  readonly userAgent?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Concurrent requests to one registry. */
  readonly maxRequests?: number;
  readonly connectTimeoutMs?: number;
  /** From the request to the headers of its answer. */
  readonly headersTimeoutMs?: number;
  /** Between two bytes of a body that a reader waits for. */
  readonly stallTimeoutMs?: number;
  /** Milliseconds, from any start, never going back. */
  readonly now?: () => number;
  readonly lookup?: typeof lookup;
}

interface OpenRegistry {
  readonly client: RegistryClient;
  readonly transport: Transport;
}

/**
 * The allow-list and the clients behind it; connects to nothing until a client is used.
 * @throws INVALID_SETTINGS if the proxy is no URL, or a password would go to any host.
 */
export function createRegistries(options: RegistriesOptions): Registries {
  return new OpenRegistries(options);
}

class OpenRegistries implements Registries {
  readonly #options: RegistriesOptions;
  readonly #allowList: AllowList;
  readonly #proxies: ProxyChoice;
  /** Of exact entries, so bounded by the settings. */
  readonly #listed = new Map<string, OpenRegistry>();
  readonly #byWildcard = new LRUCache<string, OpenRegistry>({
    max: MAX_WILDCARD_CLIENTS,
    // Whoever still holds the client may go on: it connects anew.
    dispose: ({ transport }, _host, reason) => {
      if (reason === 'evict') transport.release();
    },
  });

  constructor(options: RegistriesOptions) {
    this.#options = options;
    this.#allowList = new AllowList(options.registries);
    this.#proxies = new ProxyChoice({ proxy: options.proxy, env: options.env ?? process.env });
    const open = options.registries.find(
      ({ host, credentials }) => host === '*' && credentials && 'username' in credentials,
    );
    if (open !== undefined) {
      const message =
        'registries: a password for host "*" would be sent to any host that a client names; list the host';
      throw new WindlassError('INVALID_SETTINGS', message);
    }
  }

  allows(host: string): boolean {
    return this.#find(host) !== undefined;
  }

  get(host: string): RegistryClient {
    const open = this.#listed.get(host) ?? this.#byWildcard.get(host);
    if (open !== undefined) return open.client;
    const match = this.#find(host);
    if (match === undefined) {
      throw new WindlassError(
        'REGISTRY_DENIED',
        `${JSON.stringify(host.slice(0, 200))} is not on the list of registries`,
      );
    }
    const opened = this.#open(host, match);
    if (match.byWildcard) this.#byWildcard.set(host, opened);
    else this.#listed.set(host, opened);
    return opened.client;
  }

  async close(): Promise<void> {
    const stopping = new WindlassError('STOPPING', 'the connections to registries are being closed');
    const open = [...this.#listed.values(), ...this.#byWildcard.values()];
    await Promise.all(open.map(({ transport }) => transport.destroy(stopping)));
  }

  /** A host that a wildcard allows, but that is itself an address like 127.0.0.1, is not on the list. */
  #find(host: string): AllowListMatch | undefined {
    const match = this.#allowList.match(host);
    if (match?.byWildcard !== true || match.settings.endpoint !== undefined) return match;
    return URL.canParse(`https://${host}`) && !isSpecialHost(new URL(`https://${host}`).hostname) ? match : undefined;
  }

  #open(host: string, { settings, byWildcard }: AllowListMatch): OpenRegistry {
    const { connectTimeoutMs = 5_000, headersTimeoutMs = 60_000, stallTimeoutMs = 15_000 } = this.#options;
    const { metrics, maxRequests = 32, now = () => performance.now(), lookup } = this.#options;
    const label = settings.host;
    const logger = this.#options.logger.child({ registry: host });
    const endpoint = endpointOf(host, settings.endpoint);
    // The operator's word counts: an endpoint that was written, or a host that can be nothing else.
    const endpointTrusted = settings.endpoint !== undefined || (!byWildcard && isSpecialHost(endpoint.hostname));
    const guard = new AddressGuard({ endpoint, endpointTrusted, lookup });
    const tls = new TlsFiles({
      ca: [...this.#options.ca, ...(settings.ca === undefined ? [] : [settings.ca])],
      clientCert: settings.clientCert,
      clientKey: settings.clientKey,
      now,
    });
    const transport = new Transport({
      endpoint,
      guard,
      proxies: this.#proxies,
      tls,
      connectTimeoutMs,
      maxConnections: maxRequests,
    });
    const budget = new RequestBudget(maxRequests, (change) => metrics.upstreamQueued.inc({ registry: label }, change));
    const rest = new RestPeriod({
      registry: host,
      now,
      onPause: (pauseMs) => {
        metrics.upstreamPaused.inc({ registry: label });
        logger.warn({ pauseMs: Math.ceil(pauseMs) }, 'registry asked to be left alone');
      },
    });
    const exchange = new MeteredExchange({
      userAgent: this.#options.userAgent ?? 'windlass',
      label,
      transport,
      headersTimeoutMs,
      stallTimeoutMs,
      now,
      metrics,
      logger,
    });
    const tokenServer = new TokenServer({ registry: host, exchange });
    const credentials = credentialSource({
      hosts: credentialHosts(host, endpoint),
      settings: settings.credentials,
      now,
      logger,
    });
    const authorizer = new Authorizer({
      registry: host,
      endpoint,
      hostnames: [...new Set([host.replace(/:\d+$/, ''), endpoint.hostname])],
      credentials,
      tokens: new TokenCache({
        fetch: (request, signal) => tokenServer.fetch(request, signal),
        timeoutMs: headersTimeoutMs + stallTimeoutMs,
        now,
      }),
      logger,
    });
    const requests = new RegistryRequests({ registry: host, endpoint, exchange, authorizer, budget, rest, now });
    return { client: new UpstreamRegistry({ host, label, endpoint, requests, credentials }), transport };
  }
}
