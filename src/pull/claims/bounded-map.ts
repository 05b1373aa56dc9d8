/**
 * A map of at most so many entries, the least recently used of which goes first. lru-cache sets its room aside from
 * the start (some 100 bytes an entry); these are many, and mostly near empty.
 */
export class BoundedMap<K, V> {
  readonly #max: number;
  readonly #map = new Map<K, V>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#map.size;
  }

  /** Uses it. */
  get(key: K): V | undefined {
    const value = this.#map.get(key);
    if (value !== undefined) {
      this.#map.delete(key);
      this.#map.set(key, value);
    }
    return value;
  }

  peek(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  /** @returns what had to go for it. */
  set(key: K, value: V): readonly [K, V] | undefined {
    this.#map.delete(key);
    this.#map.set(key, value);
    return this.#map.size > this.#max ? this.shift() : undefined;
  }

  delete(key: K): boolean {
    return this.#map.delete(key);
  }

  /** Takes out the least recently used. */
  shift(): readonly [K, V] | undefined {
    const oldest = this.#map.entries().next();
    if (oldest.done) return undefined;
    this.#map.delete(oldest.value[0]);
    return oldest.value;
  }

  entries(): IterableIterator<[K, V]> {
    return this.#map.entries();
  }

  values(): IterableIterator<V> {
    return this.#map.values();
  }
}
