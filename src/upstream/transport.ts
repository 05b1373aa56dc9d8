import type { SecureContext } from 'node:tls';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import type { AddressGuard } from './address-guard.ts';
import type { ProxyChoice } from './proxy-choice.ts';
import type { TlsFiles, TlsMaterial } from './tls-files.ts';

/** Idle connections are kept so long, if the server does not ask for less. */
const KEEP_ALIVE_MS = 15_000;
/** An address that does not answer is left for the next one of the same name. */
const NEXT_ADDRESS_MS = 500;

export interface TransportOptions {
  readonly endpoint: URL;
  readonly guard: AddressGuard;
  readonly proxies: ProxyChoice;
  readonly tls: TlsFiles;
  readonly connectTimeoutMs: number;
  /** To one host and port; as many as the budget has slots, since undici opens more than it needs. */
  readonly maxConnections: number;
}

/**
 * One registry's connections, HTTP/1.1 only. When a CA or a client certificate changes, new connections are made
 * and the old ones closed after their last answer.
 */
export class Transport {
  readonly #options: TransportOptions;
  /** By proxy and by whether the client certificate is shown; all of them made with #material. */
  #dispatchers = new Map<string, Dispatcher>();
  /** Those that still have answers to finish. */
  readonly #closing = new Set<Dispatcher>();
  #material: TlsMaterial | undefined;
  #destroyed: Error | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** What to send a request for this URL with. @throws REGISTRY_DENIED, or UPSTREAM_UNAVAILABLE over a file. */
  async dispatcher(url: URL): Promise<Dispatcher> {
    const { guard, tls, proxies, endpoint } = this.#options;
    guard.check(url);
    const material = await tls.read();
    if (this.#destroyed !== undefined) throw this.#destroyed;
    if (material !== this.#material) this.release();
    this.#material = material;
    const own = url.origin === endpoint.origin;
    const proxy = proxies.proxyFor(url);
    const key = `${own} ${proxy ?? ''}`;
    let dispatcher = this.#dispatchers.get(key);
    if (dispatcher === undefined) {
      dispatcher = this.#open(own ? material.identified : material.anonymous, proxy);
      this.#dispatchers.set(key, dispatcher);
    }
    return dispatcher;
  }

  /** Without a proxy. */
  isDirect(url: URL): boolean {
    return this.#options.proxies.proxyFor(url) === undefined;
  }

  /** Closes each connection after its last answer; a later request opens new ones. */
  release(): void {
    for (const dispatcher of this.#dispatchers.values()) {
      this.#closing.add(dispatcher);
      const closed = (): boolean => this.#closing.delete(dispatcher);
      dispatcher.close().then(closed, closed);
    }
    this.#dispatchers = new Map();
  }

  /** Ends everything at once; what was under way fails with this error, and later requests too. */
  async destroy(error: Error): Promise<void> {
    this.#destroyed = error;
    const all = [...this.#dispatchers.values(), ...this.#closing];
    await Promise.all(all.map((dispatcher) => dispatcher.destroy(error)));
  }

  #open(secureContext: SecureContext | undefined, proxy: string | undefined): Dispatcher {
    const { connectTimeoutMs, maxConnections, guard } = this.#options;
    const tls = secureContext === undefined ? {} : { secureContext };
    const common = {
      allowH2: false,
      connections: maxConnections,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectTimeout: connectTimeoutMs,
    };
    if (proxy !== undefined) {
      // The proxy resolves the registry's name; it is the operator's own, so its address is not guarded.
      const handshake = { ...tls, timeout: connectTimeoutMs, allowH2: false };
      return new ProxyAgent({ ...common, uri: proxy, requestTls: handshake, proxyTls: handshake });
    }
    const connect = {
      ...tls,
      timeout: connectTimeoutMs,
      lookup: guard.lookup,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    };
    return new Agent({ ...common, connect });
  }
}
