import type { Dispatcher } from 'undici';
import { WindlassError } from '../errors.ts';

/** Above this much unread, upstream is told to wait; it is let go on below a quarter of it. */
const HIGH_WATER_BYTES = 256 * 1024;
/** An unwanted body up to this size is read away so that its connection can be used again; else it is cut. */
const DISCARD_BYTES = 64 * 1024;
const DISCARD_MS = 1_000;
/**
 * A link brings bytes by the packet, and each event costs, in undici and in all that the chunk passes through. Nobody
 * waits for the middle of a body: once all that had come is read, the next read waits a moment, so that what comes
 * meanwhile is one chunk (test/bench/README.md). Not in the first bytes, nor in the last.
 */
const EAGER_BYTES = 1024 * 1024;
const LAST_BYTES = 256 * 1024;
const MAX_REST_MS = 8;
/** No more than this may gather during a rest: the system's window may be no larger, and upstream would be held up. */
const REST_BYTES = 256 * 1024;
/** So much in one turn of the event loop was waiting: there may be more. */
const WAITED_BYTES = 32 * 1024;
const RATE_SPAN_MS = 20;

type Step = IteratorResult<Uint8Array, undefined>;
interface Waiter {
  readonly resolve: (step: Step) => void;
  readonly reject: (error: unknown) => void;
}

export interface ResponseBodyOptions {
  readonly controller: Dispatcher.DispatchController;
  /** As Content-Length says. */
  readonly lengthBytes: number | undefined;
  /** Ends the body with UPSTREAM_STALLED when the reader waited so long for one chunk. */
  readonly stallTimeoutMs: number;
  /** Makes the error that a reader sees of what went wrong below; gets how many bytes had come. */
  readonly describe: (error: unknown, receivedBytes: number) => unknown;
  /** Called once, when no more bytes will come: the end, a failure, or the reader left. */
  readonly onOver: () => void;
}

/**
 * The body of one answer: undici's chunks, handed over without copying.
 *
 *   flowing ◀─resume/pause─▶ paused          the reader's pace is upstream's pace
 *      │  end()                  │
 *      ├────────▶ ended          │           what is queued is still given out, then done
 *      │  fail(error)            │
 *      ├────────▶ failed ◀───────┤           what is queued is still given out, then the error
 *      │  return(), discard()    │
 *      └────────▶ left ◀─────────┘           the connection is freed at once
 *
 * One reader, one pass: `[Symbol.asyncIterator]()` is the body itself.
 */
export class ResponseBody implements AsyncIterableIterator<Uint8Array, undefined, void> {
  readonly #options: ResponseBodyOptions;
  /** Invariant: #queuedBytes is the sum of the lengths of #chunks from #head on. */
  #chunks: Uint8Array[] = [];
  #head = 0;
  #queuedBytes = 0;
  #receivedBytes = 0;
  #requiredBytes = 0;
  #paused = false;
  #over = false;
  #discarding = false;
  #failure: { readonly error: unknown } | undefined;
  /** At most one: set only while the queue is empty. */
  #waiter: Waiter | undefined;
  /** When the reader began to wait; the one timer looks at it, so that a chunk costs no timer of its own. */
  #waitingSince = 0;
  #stallTimer: NodeJS.Timeout | undefined;
  #restTimer: NodeJS.Timeout | undefined;
  /** What came in one turn of the event loop: TLS hands over one record after the other. */
  #turn: NodeJS.Immediate | undefined;
  #turnBytes = 0;
  /** Bytes a ms, of late. */
  #rate = Number.POSITIVE_INFINITY;
  #spanFromMs = performance.now();
  #spanFromBytes = 0;

  constructor(options: ResponseBodyOptions) {
    this.#options = options;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** An end before so many bytes is a cut, even where HTTP calls it whole: a 206 for less than was asked for. */
  requireBytes(sizeBytes: number): void {
    this.#requiredBytes = sizeBytes;
  }

  push(chunk: Uint8Array): void {
    this.#receivedBytes += chunk.byteLength;
    if (this.#discarding) {
      if (this.#receivedBytes > DISCARD_BYTES) this.#cut();
      return;
    }
    const waiter = this.#waiter;
    if (waiter !== undefined) {
      this.#waiter = undefined;
      waiter.resolve({ value: chunk, done: false });
    } else {
      this.#chunks.push(chunk);
      this.#queuedBytes += chunk.byteLength;
      if (this.#queuedBytes >= HIGH_WATER_BYTES) this.#pause();
    }
    this.#turnBytes += chunk.byteLength;
    this.#turn ??= setImmediate(() => this.#endTurn());
  }

  end(): void {
    this.#finish();
    this.#settleWaiter();
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#failure = { error: this.#options.describe(error, this.#receivedBytes) };
    this.#finish();
    this.#settleWaiter();
  }

  next(): Promise<Step> {
    const chunk = this.#chunks[this.#head];
    if (chunk !== undefined) return Promise.resolve({ value: this.#take(chunk), done: false });
    if (this.#over) return this.#last();
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#waitingSince = performance.now();
      this.#stallTimer ??= setTimeout(() => this.#checkStall(), this.#options.stallTimeoutMs);
    });
  }

  /** The reader wants no more. */
  return(): Promise<Step> {
    this.#dropQueue();
    this.#failure = undefined;
    this.#requiredBytes = 0;
    if (!this.#over) this.#cut();
    this.#settleWaiter();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Nobody wants this body: read away if it is short, else cut. Never waits, never fails. */
  discard(): void {
    this.#dropQueue();
    if (this.#over) return;
    this.#discarding = true;
    if ((this.#options.lengthBytes ?? this.#receivedBytes) > DISCARD_BYTES) {
      this.#cut();
      return;
    }
    this.#resume();
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => this.#cut(), DISCARD_MS);
    this.#stallTimer.unref();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(chunk: Uint8Array): Uint8Array {
    this.#head += 1;
    if (this.#head === this.#chunks.length) {
      this.#chunks = [];
      this.#head = 0;
    }
    this.#queuedBytes -= chunk.byteLength;
    if (this.#queuedBytes < HIGH_WATER_BYTES / 4) this.#resume();
    return chunk;
  }

  #pause(): void {
    if (!this.#paused && this.#restTimer === undefined) this.#options.controller.pause();
    this.#paused = true;
  }

  #resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    // While it was paused nothing was to come: that says nothing of upstream.
    this.#spanFromMs = performance.now();
    this.#spanFromBytes = this.#receivedBytes;
    if (this.#restTimer === undefined) this.#options.controller.resume();
  }

  /** All that had come was read, and it was little: the next read may bring more. */
  #endTurn(): void {
    this.#turn = undefined;
    const bytes = this.#turnBytes;
    this.#turnBytes = 0;
    const nowMs = performance.now();
    const spanMs = nowMs - this.#spanFromMs;
    if (spanMs >= RATE_SPAN_MS) {
      this.#rate = (this.#receivedBytes - this.#spanFromBytes) / spanMs;
      this.#spanFromMs = nowMs;
      this.#spanFromBytes = this.#receivedBytes;
    }
    if (this.#over || this.#paused || this.#restTimer !== undefined) return;
    if (bytes >= WAITED_BYTES || this.#receivedBytes < EAGER_BYTES) return;
    if ((this.#options.lengthBytes ?? 0) - this.#receivedBytes < LAST_BYTES) return;
    const restMs = Math.floor(Math.min(MAX_REST_MS, REST_BYTES / this.#rate));
    if (restMs < 1) return;
    // undici asks at the next chunk: one more comes, then what follows is left in the socket.
    this.#options.controller.pause();
    this.#restTimer = setTimeout(() => {
      this.#restTimer = undefined;
      if (!this.#paused && !this.#over) this.#options.controller.resume();
    }, restMs);
  }

  /** What comes after the last chunk. An error comes once; who asks on is told "done". */
  #last(): Promise<Step> {
    const failure = this.#failure;
    this.#failure = undefined;
    const requiredBytes = this.#requiredBytes;
    this.#requiredBytes = 0;
    if (failure !== undefined) return Promise.reject(failure.error);
    if (requiredBytes <= this.#receivedBytes) return Promise.resolve({ value: undefined, done: true });
    const short = new WindlassError('UPSTREAM_UNAVAILABLE', `an end before the ${requiredBytes} bytes asked for`);
    return Promise.reject(this.#options.describe(short, this.#receivedBytes));
  }

  #settleWaiter(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    this.#waiter = undefined;
    this.#last().then(waiter.resolve, waiter.reject);
  }

  #dropQueue(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#queuedBytes = 0;
  }

  #checkStall(): void {
    this.#stallTimer = undefined;
    if (this.#over || this.#waiter === undefined) return;
    const { stallTimeoutMs, controller } = this.#options;
    const restMs = this.#waitingSince + stallTimeoutMs - performance.now();
    // A timer that is this late says that the process stood still (SIGSTOP, a machine asleep): what came meanwhile lies
    // in the socket, and is read after the timers.
    const overslept = restMs < -stallTimeoutMs / 4;
    if (overslept) this.#waitingSince = performance.now();
    if (overslept || restMs > 0.5) {
      this.#stallTimer = setTimeout(() => this.#checkStall(), overslept ? stallTimeoutMs : restMs);
      return;
    }
    const stalled = new WindlassError('UPSTREAM_STALLED', `no byte for ${stallTimeoutMs} ms`);
    this.fail(stalled);
    controller.abort(stalled);
  }

  #cut(): void {
    this.#finish();
    this.#options.controller.abort(new Error('the rest of the body is not wanted'));
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    clearTimeout(this.#restTimer);
    clearImmediate(this.#turn);
    this.#options.onOver();
  }
}
