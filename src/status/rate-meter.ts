/** Looks closer together than this tell too little; the rate of the last pair stands. */
const MIN_GAP_MS = 400;

interface Sample {
  readonly atMs: number;
  readonly amount: number;
  readonly rate: number;
}

/** How fast things grow, from one look to the next: shared by all who look, and never asked of what grows. */
export class RateMeter {
  readonly #samples = new Map<string, Sample>();

  /** @returns what `amount` grew by a second since the look before; at the first, since `sinceMs`. */
  look(id: string, amount: number, nowMs: number, sinceMs: number): number {
    const last = this.#samples.get(id);
    if (last !== undefined && nowMs - last.atMs < MIN_GAP_MS) return last.rate;
    const [fromAmount, fromMs] = last === undefined ? [0, sinceMs] : [last.amount, last.atMs];
    const rate = nowMs <= fromMs ? 0 : Math.max(0, ((amount - fromAmount) * 1000) / (nowMs - fromMs));
    this.#samples.set(id, { atMs: nowMs, amount, rate });
    return rate;
  }

  /** Forgets all others: what has ended is never looked at again. */
  keepOnly(ids: Iterable<string>): void {
    const kept = new Set(ids);
    for (const id of this.#samples.keys()) if (!kept.has(id)) this.#samples.delete(id);
  }
}
