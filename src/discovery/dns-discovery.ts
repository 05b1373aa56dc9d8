import { Resolver } from 'node:dns/promises';
import type { Logger } from 'pino';
import { formatListenAddress } from '../config/listen-address.ts';
import { systemCode } from '../errors.ts';
import type { Candidate, Discovery } from './discovery.ts';

const REFRESH_MS = 10_000;
/** While nobody is found: 1 s, then twice as long each time, up to REFRESH_MS. */
const RETRY_MS = 1_000;
const MAX_CANDIDATES = 5_000;
const TIMEOUT_MS = 2_000;
const TRIES = 2;

/** The name exists and has no such record, or does not exist: an answer as good as any. */
const NONE = ['ENODATA', 'ENOTFOUND'];
/** So say servers of questions that they do not know. */
const UNKNOWN = ['EREFUSED', 'ENOTIMP', 'EFORMERR'];

export interface DnsDiscoveryOptions {
  readonly logger: Logger;
  /** `address:port` of the servers to ask; else those of the system. */
  readonly servers?: readonly string[];
  /** How long a server may take for an answer, at the first of two tries. */
  readonly timeoutMs?: number;
  /** Calls after `ms`. @returns cancel; for tests */
  readonly after?: (ms: number, call: () => void) => () => void;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
}

/**
 * Agents by a name's SRV, A and AAAA records, as a headless service has them: SRV records tell their ports, the others
 * are joined with one port. Where there are SRV records, the addresses of the name itself are not taken: they are the
 * same agents. A service of several ports has SRV records for each: if there are some of the one port, only they count.
 *
 * Asked again every 10 s or so (agents that started together do not ask together), sooner while there is no answer. A
 * failure changes nothing: what was found stays.
 */
export class DnsDiscovery implements Discovery {
  readonly #name: string;
  readonly #port: number;
  readonly #logger: Logger;
  readonly #after: (ms: number, call: () => void) => () => void;
  readonly #random: () => number;
  readonly #options: DnsDiscoveryOptions;
  /** One for each refresh: it reads the system's name servers once, and those may change. */
  #resolver: Resolver | undefined;
  #cancel: (() => void) | undefined;
  #stopped = false;
  #failing = false;
  #retryMs = RETRY_MS;
  /** As told last. */
  #told: string | undefined;
  #asking: Promise<void> | undefined;

  constructor(name: string, port: number, options: DnsDiscoveryOptions) {
    this.#name = name;
    this.#port = port;
    this.#logger = options.logger;
    this.#after = options.after ?? afterTimeout;
    this.#random = options.random ?? Math.random;
    this.#options = options;
  }

  async start(listener: (candidates: readonly Candidate[]) => void): Promise<void> {
    this.#ask(listener);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#resolver?.cancel();
    await this.#asking;
  }

  #ask(listener: (candidates: readonly Candidate[]) => void): void {
    this.#asking = this.#refresh(listener).then((waitMs) => {
      if (this.#stopped) return;
      this.#cancel = this.#after(waitMs * (0.75 + this.#random() / 2), () => this.#ask(listener));
    });
  }

  /** @returns how long to wait before the next one */
  async #refresh(listener: (candidates: readonly Candidate[]) => void): Promise<number> {
    let addresses: string[];
    try {
      addresses = await this.#lookup();
    } catch (err) {
      if (!this.#stopped && !this.#failing) {
        this.#logger.warn({ name: this.#name, code: systemCode(err) }, 'discovery: the name cannot be looked up');
      }
      this.#failing = true;
      return this.#retry();
    }
    if (this.#stopped) return 0;
    if (this.#failing) this.#logger.info({ name: this.#name }, 'discovery: the name can be looked up again');
    this.#failing = false;
    this.#tell(addresses, listener);
    if (addresses.length === 0) return this.#retry();
    this.#retryMs = RETRY_MS;
    return REFRESH_MS;
  }

  #tell(addresses: readonly string[], listener: (candidates: readonly Candidate[]) => void): void {
    const text = addresses.join();
    // An empty first answer is no news.
    if (text === (this.#told ?? '')) return;
    this.#told = text;
    listener(addresses.map((address) => ({ address })));
  }

  #retry(): number {
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(2 * waitMs, REFRESH_MS);
    return waitMs;
  }

  /** `host:port` each, sorted. Throws where one of the questions had no answer. */
  async #lookup(): Promise<string[]> {
    const { timeoutMs = TIMEOUT_MS, servers } = this.#options;
    const resolver = new Resolver({ timeout: timeoutMs, tries: TRIES });
    if (servers !== undefined) resolver.setServers(servers);
    this.#resolver = resolver;
    const [srv, v4, v6] = await Promise.all([
      unless([...NONE, ...UNKNOWN], resolver.resolveSrv(this.#name)),
      unless(NONE, resolver.resolve4(this.#name)),
      unless([...NONE, ...UNKNOWN], resolver.resolve6(this.#name)),
      // Where one fails the others are not waited for.
    ]).finally(() => resolver.cancel());
    // A target of "." says that there is no such service.
    const services = srv.filter(({ name, port }) => name !== '' && port > 0);
    const ours = services.filter(({ port }) => port === this.#port);
    const found =
      services.length > 0
        ? (ours.length > 0 ? ours : services).map(({ name, port }) => ({ host: name, port }))
        : [...v4, ...v6].map((host) => ({ host, port: this.#port }));
    const addresses = [...new Set(found.map(formatListenAddress))].sort();
    if (addresses.length > MAX_CANDIDATES) {
      this.#logger.debug({ name: this.#name, found: addresses.length }, 'discovery: too many records, some left out');
    }
    return addresses.slice(0, MAX_CANDIDATES);
  }
}

function afterTimeout(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms).unref();
  return () => clearTimeout(timer);
}

/** No records, where the question failed in one of these ways. */
async function unless<T>(codes: readonly string[], answer: Promise<T[]>): Promise<T[]> {
  try {
    return await answer;
  } catch (error) {
    if (codes.includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}
