import type { Timers } from '../time/timers.ts';

/** Timers with names: one each at a time, and all of them end together. */
export class RosterSchedule {
  readonly #timers: Timers;
  readonly #random: () => number;
  readonly #cancels = new Map<string, () => void>();
  #stopped = false;

  constructor(timers: Timers, random: () => number) {
    this.#timers = timers;
    this.#random = random;
  }

  /** Does nothing where one of that name waits already. */
  once(name: string, ms: number, call: () => void): void {
    if (this.#stopped || this.#cancels.has(name)) return;
    const cancel = this.#timers.after(ms, () => {
      this.#cancels.delete(name);
      call();
    });
    this.#cancels.set(name, cancel);
  }

  /** Again and again, after a quarter less or more than `ms`. */
  every(name: string, ms: number, call: () => void): void {
    this.once(name, ms * (0.75 + this.#random() / 2), () => {
      call();
      this.every(name, ms, call);
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
