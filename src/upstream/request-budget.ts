/** A turn in the budget. `release` may be called more than once. */
export interface Slot {
  release(): void;
}

export interface TurnOptions {
  /** Turns go round among repositories, so that an image of sixty blobs does not starve another's first. */
  readonly repository: string;
  /** Manifests and HEADs go first: whole pulls wait for them, and they are short. */
  readonly urgent: boolean;
  readonly signal: AbortSignal;
}

/** Gives a waiting caller its turn. */
type Waiter = (slot: Slot) => void;

/** So many urgent turns in a row, then one for a blob that waits. */
const URGENT_IN_A_ROW = 4;

/** A registry's ceiling of concurrent requests, and the queue in front of it. */
export class RequestBudget {
  readonly #max: number;
  readonly #onQueued: (change: 1 | -1) => void;
  readonly #urgent = new RoundRobin();
  readonly #patient = new RoundRobin();
  #running = 0;
  #urgentInARow = 0;

  constructor(max: number, onQueued: (change: 1 | -1) => void = () => {}) {
    this.#max = max;
    this.#onQueued = onQueued;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#urgent.size + this.#patient.size;
  }

  /** Waits for a turn. Rejects with the signal's reason. */
  acquire(options: TurnOptions): Promise<Slot> {
    const { repository, urgent, signal } = options;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#running < this.#max) return Promise.resolve(this.#grant());
    return new Promise((resolve, reject) => {
      const queue = urgent ? this.#urgent : this.#patient;
      const settle = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#onQueued(-1);
      };
      const waiter: Waiter = (slot) => {
        settle();
        resolve(slot);
      };
      const onAbort = (): void => {
        queue.remove(repository, waiter);
        settle();
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort);
      queue.add(repository, waiter);
      this.#onQueued(1);
    });
  }

  #grant(): Slot {
    this.#running += 1;
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#running -= 1;
        if (this.#running < this.#max) this.#next()?.(this.#grant());
      },
    };
  }

  #next(): Waiter | undefined {
    const blobsTurn = this.#urgentInARow >= URGENT_IN_A_ROW && this.#patient.size > 0;
    if (this.#urgent.size > 0 && !blobsTurn) {
      this.#urgentInARow += 1;
      return this.#urgent.take();
    }
    this.#urgentInARow = 0;
    return this.#patient.take();
  }
}

/** Waiters by repository; the repository that was served goes to the end of the circle. */
class RoundRobin {
  /** Invariant: no empty list; the order of the keys is the order of turns. */
  readonly #waiting = new Map<string, Waiter[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(repository: string, waiter: Waiter): void {
    const list = this.#waiting.get(repository);
    if (list === undefined) this.#waiting.set(repository, [waiter]);
    else list.push(waiter);
    this.#size += 1;
  }

  remove(repository: string, waiter: Waiter): void {
    const list = this.#waiting.get(repository);
    const index = list?.indexOf(waiter) ?? -1;
    if (list === undefined || index < 0) return;
    list.splice(index, 1);
    this.#size -= 1;
    if (list.length === 0) this.#waiting.delete(repository);
  }

  take(): Waiter | undefined {
    for (const [repository, list] of this.#waiting) {
      const waiter = list.shift();
      this.#waiting.delete(repository);
      if (list.length > 0) this.#waiting.set(repository, list);
      if (waiter === undefined) continue;
      this.#size -= 1;
      return waiter;
    }
    return undefined;
  }
}
