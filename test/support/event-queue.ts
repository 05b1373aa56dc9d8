import type { Timers } from '../../src/time/timers.ts';

interface Event {
  readonly atMs: number;
  readonly order: number;
  call: (() => void) | undefined;
}

/** Numbers in [0, 1) that a seed decides (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const LOOK_MS = 1e-6;

/** As a real clock, it has moved on each time that it is looked at: what is compared with `now()` must not be another look. */
export function ticking(timers: Timers): Timers {
  let looks = 0;
  return {
    now: () => {
      looks += 1;
      return timers.now() + looks * LOOK_MS;
    },
    wall: () => (timers.wall?.() ?? timers.now()) + looks * LOOK_MS,
    after: (ms, call) => timers.after(ms, call),
  };
}

/** Simulated time: events in order, and after each of them everything that promises have to do. */
export class EventQueue implements Timers {
  readonly #heap: Event[] = [];
  #nowMs = 0;
  #order = 0;
  /** Events run so far. */
  count = 0;

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, call: () => void): () => void {
    const event: Event = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order, call };
    this.#order += 1;
    this.#push(event);
    return () => {
      event.call = undefined;
    };
  }

  /** Until the next call, those cancelled left out. */
  get nextInMs(): number | undefined {
    const coming = this.#heap.filter(({ call }) => call !== undefined).map(({ atMs }) => atMs);
    return coming.length === 0 ? undefined : Math.min(...coming) - this.#nowMs;
  }

  /** Runs until `done` says so, or the time is over. @returns whether it was done. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<boolean> {
    await settled();
    for (;;) {
      if (done()) return true;
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      if (next.call === undefined) continue;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.count += 1;
      next.call();
      await settled();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    return done();
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const above = heap[up];
      if (above === undefined || isBefore(above, event)) break;
      heap[i] = above;
      i = up;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      const a = heap[left];
      const b = heap[left + 1];
      if (a === undefined) break;
      const [child, at] = b !== undefined && isBefore(b, a) ? [b, left + 1] : [a, left];
      if (isBefore(last, child)) break;
      heap[i] = child;
      i = at;
    }
    heap[i] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** All microtasks have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
