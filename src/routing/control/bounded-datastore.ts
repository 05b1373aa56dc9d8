import type { Libp2pOptions } from 'libp2p';

type Datastore = NonNullable<Libp2pOptions['datastore']>;
type Key = Parameters<Datastore['get']>[0];
type Query = Parameters<Datastore['query']>[0];
type KeyQuery = Parameters<Datastore['queryKeys']>[0];
type Pair = { key: Key; value: Uint8Array };

/** Of kad-dht's records, and as many of what libp2p notes of peers: any answer may name any number of them. */
const MAX_RECORDS = 20_000;

/**
 * What libp2p wants to remember, in memory: provider records and addresses of peers. Each folder of keys has an index
 * of its own, as kad-dht asks for all that is below one key at each lookup (a scan of everything took ten times as
 * long); and the oldest records are forgotten, as peers may send any number.
 */
export class BoundedDatastore implements Datastore {
  readonly #pairs = new Map<string, Pair>();
  /** Names of the entries directly below a folder, by the folder's name. */
  readonly #folders = new Map<string, Set<string>>();
  /** Names of kad-dht's records, and of what is noted of peers; oldest first. */
  readonly #records = new Set<string>();
  readonly #peers = new Set<string>();
  readonly #maxRecords: number;
  readonly #kept: string | undefined;

  /** @param kept the name of this agent's own note: it is written once, and never again. */
  constructor({ maxRecords = MAX_RECORDS, kept }: { readonly maxRecords?: number; readonly kept?: string } = {}) {
    this.#maxRecords = maxRecords;
    this.#kept = kept;
  }

  get size(): number {
    return this.#pairs.size;
  }

  put(key: Key, value: Uint8Array): Key {
    const name = key.toString();
    this.#remove(name);
    this.#pairs.set(name, { key, value });
    const folder = folderOf(name);
    const names = this.#folders.get(folder);
    if (names === undefined) this.#folders.set(folder, new Set([name]));
    else names.add(name);
    const alike = name.startsWith('/dht/') ? this.#records : this.#peers;
    if (name !== this.#kept) alike.add(name);
    if (alike.size > this.#maxRecords) {
      const [oldest] = alike;
      if (oldest !== undefined) this.#remove(oldest);
    }
    return key;
  }

  get(key: Key): Uint8Array {
    const pair = this.#pairs.get(key.toString());
    if (pair === undefined) throw new NotFound();
    // What is in use goes last.
    if (this.#peers.delete(pair.key.toString())) this.#peers.add(pair.key.toString());
    return pair.value;
  }

  has(key: Key): boolean {
    return this.#pairs.has(key.toString());
  }

  delete(key: Key): void {
    this.#remove(key.toString());
  }

  async *putMany(source: AsyncIterable<Pair> | Iterable<Pair>): AsyncGenerator<Key> {
    for await (const { key, value } of source) yield this.put(key, value);
  }

  async *getMany(source: AsyncIterable<Key> | Iterable<Key>): AsyncGenerator<Pair> {
    for await (const key of source) yield { key, value: this.get(key) };
  }

  async *deleteMany(source: AsyncIterable<Key> | Iterable<Key>): AsyncGenerator<Key> {
    for await (const key of source) {
      this.delete(key);
      yield key;
    }
  }

  batch(): ReturnType<Datastore['batch']> {
    const calls: (() => void)[] = [];
    return {
      put: (key, value) => void calls.push(() => this.put(key, value)),
      delete: (key) => void calls.push(() => this.delete(key)),
      commit: () => {
        for (const call of calls.splice(0)) call();
      },
    };
  }

  async *query({ prefix, filters = [], orders = [], offset = 0, limit }: Query): AsyncGenerator<Pair> {
    let pairs = [...this.#below(prefix)].filter((pair) => filters.every((filter) => filter(pair)));
    for (const order of orders) pairs = pairs.sort(order);
    yield* pairs.slice(offset, limit === undefined ? undefined : offset + limit);
  }

  async *queryKeys({ prefix, filters = [], orders = [], offset = 0, limit }: KeyQuery): AsyncGenerator<Key> {
    let keys = [...this.#below(prefix)].map(({ key }) => key).filter((key) => filters.every((filter) => filter(key)));
    for (const order of orders) keys = keys.sort(order);
    yield* keys.slice(offset, limit === undefined ? undefined : offset + limit);
  }

  *#below(prefix = ''): Generator<Pair> {
    // kad-dht's lookups: `/dht/provider/<key>`, below which are the providers.
    if (prefix.startsWith('/dht/provider/')) {
      for (const name of this.#folders.get(prefix) ?? []) {
        const pair = this.#pairs.get(name);
        if (pair !== undefined) yield pair;
      }
      return;
    }
    for (const [name, pair] of this.#pairs) if (name.startsWith(prefix)) yield pair;
  }

  #remove(name: string): void {
    if (!this.#pairs.delete(name)) return;
    this.#records.delete(name);
    this.#peers.delete(name);
    const folder = folderOf(name);
    const names = this.#folders.get(folder);
    names?.delete(name);
    if (names?.size === 0) this.#folders.delete(folder);
  }
}

/** libp2p knows it by its name. */
class NotFound extends Error {
  override readonly name = 'NotFoundError';

  constructor() {
    super('Not Found');
  }
}

function folderOf(name: string): string {
  return name.slice(0, name.lastIndexOf('/'));
}
