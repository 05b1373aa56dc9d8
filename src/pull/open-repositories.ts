import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Registries, RegistryClient } from '../upstream/registry-client.ts';
import { clock } from './clock.ts';
import { Flights, untilAborted } from './flights.ts';
import { isFinal, Origins } from './origins.ts';

const OPEN_MS = 24 * 3_600_000;
const CLOSED_MS = 3_600_000;
const UNSURE_MS = 30_000;
/** Whoever waits is another agent, which leaves after 2 s. */
const DECIDE_MS = 1_500;

/** `unsure`: it answered, and said neither. Whoever can make a registry refuse us (429) must not open it so. */
type Verdict = 'open' | 'closed' | 'down' | 'unsure';

export interface OpenRepositoriesOptions {
  readonly registries: Registries;
  /** Of the allow-list, as the settings have them. */
  readonly hosts: readonly string[];
  /** What a repository whose registry is down counts as, if it was not asked before. */
  readonly openWhenDown: boolean;
  readonly logger: Logger;
}

/**
 * Which repositories this agent could pull from itself. The node's containerd has other credentials (those of the Pods'
 * pull secrets), and what it fetched with them is nobody else's. Registries are asked when the first blob of a
 * repository is wanted, once a day and repository.
 */
export class OpenRepositories {
  readonly #options: OpenRepositoriesOptions;
  readonly #verdicts = new LRUCache<string, Verdict>({ max: 10_000, perf: clock });
  readonly #flights = new Flights<Verdict>();

  constructor(options: OpenRepositoriesOptions) {
    this.#options = options;
  }

  /** Without asking: is each of them known to be closed? */
  areClosed(sources: readonly RepositoryName[]): boolean {
    return sources.every((source) => this.#verdicts.peek(Origins.keyOf(source)) === 'closed');
  }

  /**
   * May a blob that containerd got from one of these be given to whoever asks for it?
   * @throws PEER_BUSY if that cannot be said soon: later it can. The signal's reason.
   */
  async isOpen(digest: Digest, sources: readonly RepositoryName[], signal: AbortSignal): Promise<boolean> {
    const bound = AbortSignal.timeout(DECIDE_MS);
    try {
      for (const source of sources) {
        const verdict = await this.#verdict(source, digest, AbortSignal.any([signal, bound]));
        if (verdict === 'open' || (verdict === 'down' && this.#options.openWhenDown)) return true;
      }
      return false;
    } catch (error) {
      signal.throwIfAborted();
      if (!bound.aborted) throw error;
      throw new WindlassError('PEER_BUSY', `${digest}: its registry is being asked who may have it`);
    }
  }

  async #verdict(source: RepositoryName, digest: Digest, signal: AbortSignal): Promise<Verdict> {
    const key = Origins.keyOf(source);
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    return this.#flights.join(key, signal, async (flightSignal) => {
      const verdict = await this.#ask(source, digest, flightSignal);
      const ttl = { open: OPEN_MS, closed: CLOSED_MS, down: UNSURE_MS, unsure: UNSURE_MS }[verdict];
      this.#verdicts.set(key, verdict, { ttl });
      this.#options.logger.info({ origin: key, verdict }, 'asked whether containerd may have had it with a secret');
      return verdict;
    });
  }

  /** One registry that opens it is enough: the source does not say which port it was. */
  async #ask({ registry, repository }: RepositoryName, digest: Digest, signal: AbortSignal): Promise<Verdict> {
    const { registries, hosts } = this.#options;
    const listed = hosts.filter((host) => host !== registry && bareHost(host) === registry);
    const candidates = [registry, ...listed].filter((host) => registries.allows(host));
    let verdict: Verdict = 'closed';
    for (const host of candidates) {
      const answer = await askOne(registries.get(host), repository, digest, signal);
      if (answer === 'open') return answer;
      if (answer !== 'closed') verdict = answer;
    }
    return verdict;
  }
}

/** A manifest is none of a registry's blobs, and what is asked for may be either. */
async function askOne(
  client: RegistryClient,
  repository: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<Verdict> {
  for (const head of [
    () => client.headBlob(repository, digest, { signal }),
    () => client.headManifest(repository, digest, { signal }),
  ]) {
    try {
      await untilAborted(head(), signal);
      return 'open';
    } catch (error) {
      if (!isFinal(error)) return hasCode(error, 'UPSTREAM_UNAVAILABLE', 'UPSTREAM_STALLED') ? 'down' : 'unsure';
    }
  }
  return 'closed';
}

/** Without port and brackets, as containerd's labels have it. */
function bareHost(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
