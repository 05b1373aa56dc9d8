import type { ServerResponse } from 'node:http';
import { WindlassError } from '../errors.ts';
import type { BlobReader } from '../pull/blob-reader.ts';
import { BufferPool } from './buffer-pool.ts';

const BUFFER_BYTES = 256 * 1024;
/** 16 MiB, all of them kept: V8 frees what is old late, and 50 MiB of dropped buffers lay about. */
const MAX_BUFFERS = 64;
const SMALL_BUFFER_BYTES = 32 * 1024;
/** A client that never closes its side after our FIN. */
const HALF_CLOSED_MS = 5_000;

/** The client left, or took no byte for too long. Nobody is left to be told. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export interface SendOptions {
  /** The first byte. */
  readonly start: number;
  /** Just past the last one, as the client was told; undefined: to the blob's end. */
  readonly end: number | undefined;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  readonly onBytes: (count: number) => void;
}

/** Copies from blobs, held or arriving, to clients, with bounded memory: two buffers a client, one where there are many. */
export class BodySender {
  readonly #pool = new BufferPool({
    bufferBytes: BUFFER_BYTES,
    smallBytes: SMALL_BUFFER_BYTES,
    max: MAX_BUFFERS,
  });
  readonly #writeTimeoutMs: number;

  /** @param writeTimeoutMs a client that takes longer over one buffer is let go; renewed with each. */
  constructor(writeTimeoutMs: number) {
    this.#writeTimeoutMs = writeTimeoutMs;
  }

  /**
   * Sends the body; the headers are out. Resolves when the last byte was handed to the system.
   * @throws what the reader throws, after the bytes before it were handed over; ClientGone.
   */
  async send(response: ServerResponse, reader: BlobReader, options: SendOptions): Promise<void> {
    const { end, signal, onBytes } = options;
    let position = options.start;
    // One write is under way while the next bytes are read.
    let writing: Promise<void> = Promise.resolve();
    let abandon = () => {};
    const onAbort = () => abandon();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while ((end === undefined || position < end) && (await reader.wait(position, signal))) {
        // Gives its own buffer back first. It waits for its own client only, never for another's.
        if (this.#pool.crowded) await writing;
        const buffer = this.#pool.take();
        let count: number;
        try {
          const wanted = Math.min(buffer.length, (end ?? Number.POSITIVE_INFINITY) - position);
          count = await reader.read(buffer.subarray(0, wanted), position);
          await writing;
        } catch (error) {
          this.#pool.give(buffer);
          throw error;
        }
        position += count;
        const written = this.#write(response, buffer.subarray(0, count), () => this.#pool.give(buffer));
        // A write to a client that left may never be called back (behind a pipelined request, say).
        writing = Promise.race([
          written,
          new Promise<void>((_, reject) => {
            abandon = () => reject(new ClientGone('the client left'));
          }),
        ]);
        // Handled where it is awaited; a rejection in between must not count as unhandled.
        writing.catch(() => {});
        onBytes(count);
      }
    } finally {
      await writing.catch((error) => {
        if (!(error instanceof ClientGone)) throw error;
      });
      signal.removeEventListener('abort', onAbort);
    }
    if (response.destroyed || signal.aborted) throw new ClientGone('the client left');
    // The connection would be used again, with the client still waiting for the rest.
    if (end !== undefined && position < end) {
      throw new WindlassError('UPSTREAM_UNAVAILABLE', `the body ended at ${position}, short of ${end}`);
    }
  }

  #write(response: ServerResponse, bytes: Uint8Array, done: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (response.destroyed) {
        done();
        reject(new ClientGone('the client left'));
        return;
      }
      const timer = setTimeout(() => {
        response.destroy(
          new ClientGone(`the client took less than ${bytes.length} bytes in ${this.#writeTimeoutMs} ms`),
        );
      }, this.#writeTimeoutMs);
      response.write(bytes, (error) => {
        clearTimeout(timer);
        done();
        if (error) reject(new ClientGone('the client left', { cause: error }));
        else resolve();
      });
    });
  }
}

/**
 * Ends a body that cannot be finished, with FIN: containerd then comes back at its offset, or goes to its next
 * host. An RST would fail its pull. What was written leaves first.
 */
export function endEarly(response: ServerResponse): void {
  const { socket } = response;
  if (socket === null) response.destroy();
  if (socket === null || socket.destroyed) return;
  response.flushHeaders();
  socket.end();
  const timer = setTimeout(() => socket.destroy(), HALF_CLOSED_MS);
  socket.once('close', () => clearTimeout(timer));
}
