import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Registries } from '../upstream/registry-client.ts';
import { type Answer, askAccess } from './access.ts';
import { clock } from './clock.ts';
import { Flights } from './flights.ts';

/** For so long it is not asked again. Kept for longer: only another answer takes its place. */
const FRESH_MS = { open: 24 * 3_600_000, closed: 3_600_000, missing: 3_600_000 };
const UNANSWERED_MS = 30_000;
/** Whoever waits is another agent, which leaves after 2 s. */
const DECIDE_MS = 1_500;
const MAX_REPOSITORIES = 10_000;
const MAX_DIGESTS = 50_000;
const MAX_REGISTRIES = 1_000;

export interface OpenRepositoriesOptions {
  readonly registries: Registries;
  /** Of the allow-list, as the settings have them. */
  readonly hosts: readonly string[];
  /** What a blob whose registry is down counts as, if it never answered. */
  readonly openWhenDown: boolean;
  readonly logger: Logger;
}

/** A repository of one host of the allow-list. */
interface Place {
  readonly host: string;
  readonly repository: string;
}

interface Known {
  readonly answer: 'open' | 'closed' | 'missing';
  readonly atMs: number;
}

/**
 * What this agent could pull itself. The node's containerd has other credentials (those of the Pods' pull secrets), and
 * what it fetched with them is nobody else's. Registries are asked when a blob is wanted, once a day and blob: a
 * repository that opens one digest may not have another, whatever a label says. Refused, a repository is closed as a
 * whole.
 */
export class OpenRepositories {
  readonly #options: OpenRepositoriesOptions;
  readonly #listed: readonly string[];
  /** By registry as containerd names it: its hosts on the allow-list. */
  readonly #hosts = new LRUCache<string, readonly string[]>({ max: MAX_REGISTRIES });
  readonly #closed = new LRUCache<string, Known>({ max: MAX_REPOSITORIES });
  /** By repository and digest. */
  readonly #digests = new LRUCache<string, Known>({ max: MAX_DIGESTS });
  /** By repository: not asked again so soon. */
  readonly #unanswered = new LRUCache<string, 'down' | 'unsure'>({
    max: MAX_REPOSITORIES,
    ttl: UNANSWERED_MS,
    perf: clock,
  });
  readonly #flights = new Flights<Answer>();
  readonly #listeners = new Set<(digest: Digest | undefined) => void>();

  constructor(options: OpenRepositoriesOptions) {
    this.#options = options;
    this.#listed = options.hosts.map((host) => host.toLowerCase());
  }

  /** Without asking: is it known that none of these gives it to this agent? True where none is on the list. */
  isClosed(digest: Digest, sources: readonly RepositoryName[]): boolean {
    return this.#placesOf(sources).every(
      (place) =>
        this.#closed.peek(keyOf(place)) !== undefined || this.#digests.peek(keyOf(place, digest))?.answer === 'missing',
    );
  }

  /** Without asking: did one of these open it, and is that not long ago? */
  isKnownOpen(digest: Digest, sources: readonly RepositoryName[]): boolean {
    return this.#placesOf(sources).some((place) => this.#fresh(place, digest) === 'open');
  }

  /**
   * May a blob that containerd got from one of these be given to whoever asks for it?
   * @returns false only if `isClosed`. @throws PEER_BUSY if that cannot be said now: later it can. The signal's reason.
   */
  async isOpen(digest: Digest, sources: readonly RepositoryName[], signal: AbortSignal): Promise<boolean> {
    if (this.isKnownOpen(digest, sources)) return true;
    const bound = AbortSignal.timeout(DECIDE_MS);
    const either = AbortSignal.any([signal, bound]);
    let decided = true;
    try {
      for (const source of sources) {
        const answers = new Set<Answer>();
        for (const place of this.#placesOf([source])) answers.add(await this.#answer(place, digest, either));
        if (answers.has('open')) return true;
        const isDown = answers.has('down') && !answers.has('closed') && !answers.has('unsure');
        if (isDown && this.#options.openWhenDown) return true;
        if (answers.has('down') || answers.has('unsure')) decided = false;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!bound.aborted) throw error;
      decided = false;
    }
    if (!decided) throw new WindlassError('PEER_BUSY', `${digest}: its registry does not say now who may have it`);
    return false;
  }

  /**
   * Tells that `isClosed` may have another answer: of that digest, or (undefined) of any. Listeners must not throw.
   * @returns unsubscribe
   */
  subscribe(listener: (digest: Digest | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #answer(place: Place, digest: Digest, signal: AbortSignal): Promise<Answer> {
    const known = this.#fresh(place, digest);
    if (known !== undefined) return known;
    const unanswered = this.#unanswered.get(keyOf(place));
    if (unanswered !== undefined) return this.#last(place, digest)?.answer ?? unanswered;
    return this.#flights.join(keyOf(place, digest), signal, async (flightSignal) => {
      const answer = await this.#ask(place, digest, flightSignal);
      this.#learn(place, digest, answer);
      this.#options.logger.info(
        { origin: keyOf(place), digest, answer },
        'asked whether containerd may have had it with a secret',
      );
      return this.#last(place, digest)?.answer ?? answer;
    });
  }

  async #ask({ host, repository }: Place, digest: Digest, signal: AbortSignal): Promise<Answer> {
    const { registries } = this.#options;
    const answer = await askAccess(registries, host, repository, digest, signal);
    // containerd leaves out ports, and a wildcard says none: nobody may ever have listened on the one that was guessed.
    return answer === 'down' && !this.#listed.includes(host) ? 'unsure' : answer;
  }

  #learn(place: Place, digest: Digest, answer: Answer): void {
    const key = keyOf(place);
    if (answer === 'down' || answer === 'unsure') {
      this.#unanswered.set(key, answer);
      return;
    }
    const known = { answer, atMs: clock.now() };
    if (answer === 'closed') {
      const before = this.#closed.get(key);
      this.#closed.set(key, known);
      if (before === undefined) this.#tell(undefined);
      return;
    }
    this.#digests.set(keyOf(place, digest), known);
    const opened = answer === 'open' && this.#closed.delete(key);
    this.#tell(opened ? undefined : digest);
  }

  /** The last real answer, however old: with its registry down nothing that was closed must open. */
  #last(place: Place, digest: Digest): Known | undefined {
    const closed = this.#closed.get(keyOf(place));
    const own = this.#digests.get(keyOf(place, digest));
    if (closed === undefined || own === undefined) return closed ?? own;
    return own.atMs > closed.atMs ? own : closed;
  }

  #fresh(place: Place, digest: Digest): Known['answer'] | undefined {
    const last = this.#last(place, digest);
    return last !== undefined && clock.now() < last.atMs + FRESH_MS[last.answer] ? last.answer : undefined;
  }

  #placesOf(sources: readonly RepositoryName[]): Place[] {
    return sources.flatMap(({ registry, repository }) => this.#hostsOf(registry).map((host) => ({ host, repository })));
  }

  /** containerd's labels do not say which port it was. */
  #hostsOf(registry: string): readonly string[] {
    const known = this.#hosts.get(registry);
    if (known !== undefined) return known;
    const listed = this.#listed.filter((host) => host !== registry && bareHost(host) === registry);
    const hosts = [registry, ...listed].filter((host) => this.#options.registries.allows(host));
    this.#hosts.set(registry, hosts);
    return hosts;
  }

  #tell(digest: Digest | undefined): void {
    for (const listener of this.#listeners) listener(digest);
  }
}

function keyOf({ host, repository }: Place, digest?: Digest): string {
  return digest === undefined ? `${host}/${repository}` : `${host}/${repository}@${digest}`;
}

/** Without port and brackets, as containerd's labels have it. */
function bareHost(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
