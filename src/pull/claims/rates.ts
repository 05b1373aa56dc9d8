import { BoundedMap } from './bounded-map.ts';

const FRESH_MS = 3_000;
const MAX_REGISTRIES = 1_000;
const MAX_WRITERS = 1_000;
/**
 * Half an uplink is what a tree of two needs. A little more, as both rates are the highest of many that vary: with a half,
 * noise made chains where upstream was at a quarter (1.23 for 1.02).
 */
const CHAIN_SHARE = 0.6;
/** The longest that counts as usual: a registry that hangs is not to set its own bound. */
const MAX_FIRST_BYTE_MS = 20_000;

interface Registry {
  /** Bytes a second: the highest sum of its concurrent writers' rates. */
  best: number | undefined;
  firstByteMs: number | undefined;
  readonly writers: Map<string, { readonly rate: number; readonly atMs: number }>;
}

/**
 * What is known of how fast registries and uplinks are: from writers' renewals, and from what claims say. By it a
 * keeper chooses between a tree and a chain, and knows when a writer has stalled.
 */
export class Rates {
  readonly #registries = new BoundedMap<string, Registry>(MAX_REGISTRIES);
  readonly #carries: () => number | undefined;
  readonly #carriesAtLeast: () => number | undefined;
  #heard: number | undefined;

  /** @param carries, carriesAtLeast of this agent's uplink, as ClaimsOptions have them */
  constructor(
    carries: () => number | undefined = () => undefined,
    carriesAtLeast: () => number | undefined = () => undefined,
  ) {
    this.#carries = carries;
    this.#carriesAtLeast = carriesAtLeast;
  }

  /** `<registry>/<repository>…` */
  static registryOf(source: string): string {
    return source.split('/', 1)[0] ?? source;
  }

  /**
   * The most that any agent's uplink is known to carry, in bytes a second; undefined while that is not known of any. What this
   * one carries at least may raise it, lest the first one that was full is taken for all: a slow one is full soonest.
   */
  get carries(): number | undefined {
    const known = Math.max(this.#carries() ?? 0, this.#heard ?? 0);
    return known === 0 ? undefined : Math.max(known, this.#carriesAtLeast() ?? 0);
  }

  registry(name: string): number | undefined {
    return this.#registries.get(name)?.best;
  }

  usualFirstByteMs(name: string): number {
    return this.#registries.get(name)?.firstByteMs ?? 0;
  }

  /** Is it too much for two children of one node? False while no uplink is known. */
  fillsAnUplink(rate: number | undefined): boolean {
    const { carries } = this;
    return rate !== undefined && carries !== undefined && rate > CHAIN_SHARE * carries;
  }

  noteCarries(rate: number | undefined): void {
    if (rate !== undefined && rate > (this.#heard ?? 0)) this.#heard = rate;
  }

  /** Somebody says so, of all its writers together. */
  noteRegistry(name: string, rate: number | undefined): void {
    if (rate === undefined) return;
    const registry = this.#of(name);
    registry.best = Math.max(registry.best ?? 0, rate);
  }

  /** One writer's rate now. */
  noteWriter(name: string, writer: string, rate: number, nowMs: number): void {
    const { writers } = this.#of(name);
    for (const [id, { atMs }] of writers) if (nowMs - atMs > FRESH_MS) writers.delete(id);
    if (rate <= 0 || (writers.size >= MAX_WRITERS && !writers.has(writer))) return;
    writers.set(writer, { rate, atMs: nowMs });
    let sum = 0;
    for (const other of writers.values()) sum += other.rate;
    this.noteRegistry(name, sum);
  }

  noteFirstByte(name: string, ms: number): void {
    const registry = this.#of(name);
    const bounded = Math.min(ms, MAX_FIRST_BYTE_MS);
    registry.firstByteMs = registry.firstByteMs === undefined ? bounded : 0.8 * registry.firstByteMs + 0.2 * bounded;
  }

  /** What is worth keeping over a restart. */
  known(): Record<string, number> {
    const known: Record<string, number> = {};
    for (const [name, { best }] of this.#registries.entries()) if (best !== undefined) known[name] = Math.round(best);
    return known;
  }

  #of(name: string): Registry {
    let registry = this.#registries.get(name);
    if (registry === undefined) {
      registry = { best: undefined, firstByteMs: undefined, writers: new Map() };
      this.#registries.set(name, registry);
    }
    return registry;
  }
}
