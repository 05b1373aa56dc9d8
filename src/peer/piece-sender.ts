import type { ServerResponse } from 'node:http';
import { WindlassError } from '../errors.ts';
import type { PeerEvent, PeerOffer } from '../pull/peer-streams.ts';
import { endFrame, failFrame, movedFrame, pathFrame, pieceHead, strainedFrame, waitingFrame } from './frames.ts';
import { tellable } from './peer-status.ts';
import type { Transfer } from './transfer.ts';
import type { Uploads } from './uploads.ts';

/** What is handed to the system at once; TLS holds as much again. */
const SLICE_BYTES = 256 * 1024;
/** Where many streams share the link anyway, each keeps less waiting. */
const MANY_STREAMS = 16;
const SMALL_SLICE_BYTES = 64 * 1024;
/** Twice a second is promised. */
const WAITING_EVERY_MS = 400;

/** The other agent left, or took no byte for too long. Nobody is left to be told. */
class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

/** Sends what is offered as frames, one piece in memory at a time. */
export class PieceSender {
  readonly #uploads: Uploads;
  readonly #writeTimeoutMs: number;

  /** @param writeTimeoutMs whoever takes longer over a slice is let go; renewed with each. */
  constructor(uploads: Uploads, writeTimeoutMs: number) {
    this.#uploads = uploads;
    this.#writeTimeoutMs = writeTimeoutMs;
  }

  /** Sends the frames after the headers, an ingest's failure included. Resolves when all is sent, or nobody is left. */
  async send(response: ServerResponse, offer: PeerOffer, transfer: Transfer, signal: AbortSignal): Promise<void> {
    const events = offer.events[Symbol.asyncIterator]();
    let written = 0;
    // For what no iterator says: silence means a dead path.
    let waitingSinceMs: number | undefined;
    const timer = setInterval(() => {
      if (waitingSinceMs === undefined || performance.now() - waitingSinceMs < WAITING_EVERY_MS) return;
      waitingSinceMs = performance.now();
      if (response.writableLength === 0) response.write(waitingFrame(written));
    }, WAITING_EVERY_MS / 4);
    try {
      await this.#write(response, pathFrame(offer.path), signal);
      for (;;) {
        waitingSinceMs = performance.now();
        const next = await orGone(events.next(), signal);
        waitingSinceMs = undefined;
        if (next.done === true) break;
        written = writtenOf(next.value) ?? written;
        await this.#sendEvent(response, next.value, transfer, signal);
      }
      response.end(endFrame);
    } catch (error) {
      if (error instanceof ReaderGone || response.destroyed) {
        response.destroy();
        return;
      }
      response.end(failFrame(tellable(error)));
      if (!(error instanceof WindlassError)) throw error;
    } finally {
      clearInterval(timer);
      // Not waited for: it may be in the middle of something that only the signal ends.
      (async () => events.return?.())().catch(() => {});
    }
  }

  async #sendEvent(response: ServerResponse, event: PeerEvent, transfer: Transfer, signal: AbortSignal): Promise<void> {
    if (event.type !== 'piece') {
      await this.#write(response, frameOf(event), signal);
      return;
    }
    const { index, bytes, proof, written } = event.piece;
    const { bucket } = this.#uploads;
    const streams = this.#uploads.running.length;
    const sliceBytes = bucket.sliceBytes(streams > MANY_STREAMS ? SMALL_SLICE_BYTES : SLICE_BYTES, streams);
    let head: Buffer | undefined = pieceHead({ index, length: bytes.length, proof, written });
    for (let at = 0; at < bytes.length; at += sliceBytes) {
      const slice = bytes.subarray(at, at + sliceBytes);
      await bucket.take(slice.length, signal);
      response.cork();
      if (head !== undefined) response.write(head);
      head = undefined;
      const sent = this.#write(response, slice, signal);
      response.uncork();
      await sent;
      this.#uploads.sent(transfer, slice.length);
    }
  }

  /** Resolves when the system took it all. */
  #write(response: ServerResponse, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      if (response.destroyed || signal.aborted) {
        reject(new ReaderGone('the reader left'));
        return;
      }
      const timer = setTimeout(() => {
        reject(new ReaderGone(`the reader took less than ${bytes.length} bytes in ${this.#writeTimeoutMs} ms`));
      }, this.#writeTimeoutMs);
      response.write(bytes, (error) => {
        clearTimeout(timer);
        if (error) reject(new ReaderGone('the reader left', { cause: error }));
        else resolve();
      });
    });
    return orGone(sent, signal);
  }
}

function frameOf(event: Exclude<PeerEvent, { readonly type: 'piece' }>): Buffer {
  if (event.type === 'waiting') return waitingFrame(event.written);
  if (event.type === 'path') return pathFrame(event.path);
  return event.type === 'moved' ? movedFrame : strainedFrame;
}

function writtenOf(event: PeerEvent): number | undefined {
  if (event.type === 'piece') return event.piece.written;
  return event.type === 'waiting' ? event.written : undefined;
}

/** A write to a socket that was closed may never be called back. */
async function orGone<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: gone, reject } = Promise.withResolvers<never>();
  const leave = () => reject(new ReaderGone('the reader left'));
  if (signal.aborted) leave();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([promise, gone]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
