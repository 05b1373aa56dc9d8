import { WindlassError } from '../errors.ts';
import type { PeerEvent, PeerStream } from './peer-streams.ts';
import { SlowParent } from './slow-parent.ts';

/** How often a parent is looked at while a piece is under way. */
const LOOK_MS = 100;

export interface ParentEventsOptions {
  /** The whole blob's, if known. */
  readonly sizeBytes: number | undefined;
  /** A piece that is under way for longer is waited for no more. */
  readonly pieceMs: number;
  /** It is not taken for slow before that. */
  readonly slowAfterMs: number;
  /** Does it write now? Then all the others wait for it. */
  readonly isWriter: () => boolean;
  readonly signal: AbortSignal;
  /** How far the child has it, to the byte where the stream knows it. */
  readonly receivedTo: () => number;
}

/** What a parent says, one event after another, and whether it is too slow between them. */
export class ParentEvents {
  readonly #events: AsyncIterator<PeerEvent>;
  readonly #options: ParentEventsOptions;
  readonly #slow: SlowParent;
  /** What it is to say next. */
  #next: Promise<IteratorResult<PeerEvent>> | undefined;
  #waitedMs = 0;
  #heardMs = performance.now();
  #slowSaid = false;

  constructor(stream: PeerStream, options: ParentEventsOptions) {
    this.#events = stream.events[Symbol.asyncIterator]();
    this.#options = options;
    this.#slow = new SlowParent(options.sizeBytes, performance.now() + options.slowAfterMs);
  }

  /** For how long it was waited for, in all. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Monotonic. When it last said anything. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /**
   * What it says next; or that it is slow, once for each time that it says something. To be called again after that.
   * @throws what the stream throws; PEER_SILENT; the signal's reason.
   */
  async next(): Promise<IteratorResult<PeerEvent> | 'slow'> {
    const { pieceMs, signal, receivedTo } = this.#options;
    signal.throwIfAborted();
    // While nobody asks it, as another source is looked for, it says nothing that is heard.
    const enteredMs = performance.now();
    this.#next ??= this.#events.next();
    const next = this.#next;
    // It is not always waited for to its end.
    next.catch(() => {});
    for (;;) {
      const fromMs = performance.now();
      let timer: NodeJS.Timeout | undefined;
      const look = new Promise<'look'>((resolve) => {
        timer = setTimeout(() => resolve('look'), LOOK_MS);
      });
      const first = await Promise.race([next, look]).finally(() => clearTimeout(timer));
      const nowMs = performance.now();
      this.#waitedMs += nowMs - fromMs;
      if (first !== 'look') {
        this.#next = undefined;
        this.#slowSaid = false;
        this.#heardMs = nowMs;
        return first;
      }
      signal.throwIfAborted();
      if (this.isSlow(receivedTo()) && !this.#slowSaid) {
        this.#slowSaid = true;
        return 'slow';
      }
      // It says something now and then, or the stream itself would have broken it off: but it does not get on.
      if (nowMs - Math.max(this.#heardMs, enteredMs) > pieceMs)
        throw new WindlassError('PEER_SILENT', `no piece within ${pieceMs} ms`);
    }
  }

  /** It said how far it is. */
  told(written: number): void {
    this.#slow.told(performance.now(), written);
  }

  isSlow(position: number): boolean {
    return this.#slow.isSlow(performance.now(), position, this.#waitedMs, this.#options.isWriter());
  }

  /** Waits for nothing: a generator that hangs would not return. */
  leave(): void {
    this.#events.return?.().catch(() => {});
  }
}
