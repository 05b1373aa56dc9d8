import { WindlassError } from '../errors.ts';
import type { PeerEvent, PeerStream } from '../pull/peer-streams.ts';
import type { PieceBuffers } from '../pull/piece-buffers.ts';
import type { PeerId } from '../routing/member.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import { PIECES_TYPE } from './frames.ts';
import type { Input } from './input.ts';
import type { ResponseHandler } from './peer-connection.ts';
import type { PeerLink } from './peer-link.ts';
import { errorOfStatus, isErrorCode } from './peer-status.ts';
import type { ResponseHead } from './response-parser.ts';
import { SIZE_HEADER } from './wire.ts';

/** Less than this within the bound is as good as nothing: one byte a second keeps no reader. */
const LEAST_BYTES = 16 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;
/** The end of a piece is not held up to read it together with more. */
const UNHURRIED_BYTES = 32 * 1024;

export interface PieceStreamOptions {
  readonly link: PeerLink;
  readonly buffers: PieceBuffers;
  /** Then the next piece is not begun while the reader has one: others use the link meanwhile. */
  readonly isOneOfMany: () => boolean;
  readonly stallTimeoutMs: number;
  readonly onBytes: (count: number) => void;
  /** The connection is free, or closed. Called once. */
  readonly onClosed: (reusable: boolean) => void;
}

/**
 * A blob from another agent, as it comes. Two pieces in memory at most: one that the reader has, one that fills or
 * waits; past that the connection is read no further.
 *
 *   asked ── 200, first path ──▶ open ── end ──▶ ended ── last chunk ──▶ connection free
 *     │                           │  └── fail ─▶ ended, PEER_FAILED
 *     └── other status ─▶ declined└── broken, silent, nonsense, left ──▶ failed, connection closed
 */
export class PieceStream implements ResponseHandler, PeerStream {
  readonly opened: Promise<void>;
  readonly events: AsyncIterableIterator<PeerEvent>;
  sizeBytes: number | undefined;
  path: readonly PeerId[] = [];
  readonly #options: PieceStreamOptions;
  readonly #decoder = new FrameDecoder((lengthBytes) => this.#takeBuffer(lengthBytes));
  /** Of pieces that the reader has not had yet, in order; the last may be filling. */
  readonly #buffers: Buffer[] = [];
  /** The reader has it, until it asks for more. */
  #inHand: Buffer | undefined;
  readonly #open = Promise.withResolvers<void>();
  #isOpen = false;
  #head: ResponseHead | undefined;
  #errorBody = '';
  #queued: PeerEvent[] = [];
  #waiter: PromiseWithResolvers<IteratorResult<PeerEvent>> | undefined;
  #paused = false;
  #ended = false;
  #closed = false;
  #failure: unknown;
  #progressAtMs = performance.now();
  #progressBytes = 0;
  #late = false;
  #timer: NodeJS.Timeout;

  constructor(options: PieceStreamOptions) {
    this.#options = options;
    this.opened = this.#open.promise;
    this.opened.catch(() => {});
    this.#timer = setInterval(() => this.#watch(), options.stallTimeoutMs / 8);
    this.events = {
      next: () => this.#next(),
      return: async () => {
        this.leave(new WindlassError('PEER_GONE', 'the reader left'));
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  get receivedBytes(): number {
    return this.#decoder.pieceBytes;
  }

  get head(): ResponseHead | undefined {
    return this.#head;
  }

  onHead(head: ResponseHead): void {
    this.#head = head;
    if (head.status !== 200) return;
    if (head.headers.get('content-type') !== PIECES_TYPE) {
      throw new WindlassError('PEER_NONSENSE', 'the other agent sent a blob as something else');
    }
    const size = head.headers.get(SIZE_HEADER);
    if (size === undefined) return;
    if (!/^\d{1,16}$/.test(size) || !Number.isSafeInteger(Number(size))) {
      throw new WindlassError('PEER_NONSENSE', 'the other agent sent a size that is none');
    }
    this.sizeBytes = Number(size);
  }

  onBody(input: Input): boolean {
    if (this.#head?.status !== 200) {
      this.#errorBody += Buffer.from(input.bytes.subarray(input.at, input.end)).toString();
      input.at = input.end;
      if (this.#errorBody.length > MAX_ERROR_BYTES) throw new WindlassError('PEER_NONSENSE', 'a long refusal');
      return true;
    }
    while (input.at < input.end) {
      if (this.#ended) throw new WindlassError('PEER_NONSENSE', 'the other agent sent more than the end');
      const before = this.#decoder.taken;
      const frame = this.#decoder.next(input);
      this.#progressed(this.#decoder.taken - before, frame !== undefined);
      if (frame !== undefined && !this.#take(frame)) {
        this.#paused = true;
        return false;
      }
    }
    return true;
  }

  onDone(): void {
    if (this.#head?.status !== 200) {
      this.#fail(errorOfStatus(this.#head?.status ?? 0, this.#options.link.peerId, saidIn(this.#errorBody)));
      this.#close(true);
    } else if (this.#ended) {
      this.#close(true);
    } else {
      this.leave(new WindlassError('PEER_NONSENSE', 'the other agent ended its answer before the blob'));
    }
  }

  onFailed(error: WindlassError): void {
    this.#fail(error);
    this.#close(false);
  }

  lacking(): number {
    return Math.max(0, this.#decoder.missing - UNHURRIED_BYTES);
  }

  /** Closes the connection, if the stream has not ended yet: what is under way is not waited for. */
  leave(why: unknown): void {
    this.#fail(why);
    if (this.#closed) return;
    this.#options.link.connection.destroy();
    // The answer may be whole, and the connection ours no more.
    this.#close(false);
  }

  /** @returns whether it wants the next one at once. */
  #take(frame: Frame): boolean {
    if (frame.type === 'end') {
      this.#ended = true;
      return true;
    }
    if (frame.type === 'fail') {
      this.#ended = true;
      const { code, message, upstreamStatus } = frame.failure;
      const status = upstreamStatus === undefined ? {} : { upstreamStatus };
      const cause = new WindlassError(isErrorCode(code) ? code : 'PEER_FAILED', message, status);
      this.#fail(new WindlassError('PEER_FAILED', message, { ...status, cause }));
      return true;
    }
    if (!this.#isOpen) {
      if (frame.type !== 'path') throw new WindlassError('PEER_NONSENSE', 'the other agent sent no path first');
      this.#isOpen = true;
      this.path = frame.path;
      this.#open.resolve();
      return true;
    }
    if (frame.type === 'piece') this.#options.onBytes(frame.piece.bytes.length);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.#queued.push(frame);
    else waiter.resolve(this.#hand(frame));
    return waiter !== undefined && !this.#options.isOneOfMany();
  }

  async #next(): Promise<IteratorResult<PeerEvent>> {
    if (this.#inHand !== undefined) this.#options.buffers.give(this.#inHand);
    this.#inHand = undefined;
    const event = this.#queued.shift();
    if (event !== undefined) {
      this.#goOn();
      return this.#hand(event);
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) return { done: true, value: undefined };
    this.#waiter = Promise.withResolvers();
    this.#goOn();
    return this.#waiter.promise;
  }

  #hand(event: PeerEvent): IteratorResult<PeerEvent> {
    if (event.type === 'piece') this.#inHand = this.#buffers.shift();
    return { done: false, value: event };
  }

  #goOn(): void {
    if (!this.#paused || this.#queued.length > 0) return;
    this.#paused = false;
    this.#progressAtMs = performance.now();
    // Not now: what it brings must come after what is being returned.
    queueMicrotask(() => this.#options.link.connection.resume());
  }

  #takeBuffer(lengthBytes: number): Buffer {
    const buffer = this.#options.buffers.take(lengthBytes);
    this.#buffers.push(buffer);
    return buffer;
  }

  #progressed(bytes: number, frame: boolean): void {
    this.#progressBytes += bytes;
    if (!frame && this.#progressBytes < LEAST_BYTES) return;
    this.#progressBytes = 0;
    this.#progressAtMs = performance.now();
  }

  #watch(): void {
    const late = !this.#paused && performance.now() - this.#progressAtMs >= this.#options.stallTimeoutMs;
    // At the second look: what came while this process itself stood still is read between the two.
    const before = this.#late;
    this.#late = late;
    if (!late || !before) return;
    this.leave(new WindlassError('PEER_SILENT', `${this.#options.link.peerId} sent nothing for too long`));
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#open.reject(this.#failure);
    this.#settle();
  }

  #settle(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) return;
    if (this.#failure !== undefined) waiter.reject(this.#failure);
    else waiter.resolve({ done: true, value: undefined });
  }

  #close(reusable: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#options.onClosed(reusable);
    this.#settle();
  }
}

function saidIn(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
