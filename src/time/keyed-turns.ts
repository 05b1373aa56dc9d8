/** Calls for the same key run one after the other, in the order they came; those of different keys do not wait. */
export class KeyedTurns<K> {
  /** The last call for each key that has any under way. */
  readonly #last = new Map<K, Promise<unknown>>();

  run<T>(key: K, call: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(call);
    const settled: Promise<unknown> = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#last.get(key) === settled) this.#last.delete(key);
      });
    this.#last.set(key, settled);
    return turn;
  }
}
