import { WindlassError } from '../errors.ts';
import type { BlobWriter } from '../store/blob-store.ts';
import type { BlobBody } from '../upstream/registry-client.ts';

/**
 * Writes begin at least this far apart, unless that many bytes wait: a link brings bytes by the packet, and a write,
 * a hash and a read by every reader for each of them took more than a core at 200 Mbit/s (test/bench/README.md).
 */
const WRITE_INTERVAL_MS = 4;
const WRITE_BYTES = 512 * 1024;

/**
 * Appends a source's bytes to a writer. The first bytes wait for nothing; then what arrives within a few
 * milliseconds, or while a write is under way, is written together.
 *
 * Chunks are copied at once, into two buffers in turn: one is filled while the other is written. Chunks that waited
 * for their write grew old, and V8 frees what is old late: 30 to 60 MiB of them lay about (test/bench/README.md).
 *
 * @param body begins at or before `writer.written`; what is there already is skipped.
 * @param sizeBytes where the blob must end, if known.
 * @param onWritten after each write; holding it up holds up the source.
 * @throws what the source throws, after all that arrived was written; DIGEST_MISMATCH for bytes past the size.
 */
export async function copyBody(
  body: BlobBody,
  writer: BlobWriter,
  sizeBytes: number | undefined,
  onWritten: () => void | Promise<void>,
): Promise<void> {
  let skip = writer.written - body.offset;
  let position = writer.written;
  const capacity = Math.max(1, Math.min(WRITE_BYTES, (sizeBytes ?? WRITE_BYTES) - position));
  let filling: Buffer = Buffer.allocUnsafeSlow(capacity);
  let spare: Buffer | undefined;
  let filled = 0;
  let flushing: Promise<void> | undefined;
  let flushTimer: NodeJS.Timeout | undefined;
  let nextFlushMs = 0;
  let failure: { readonly error: unknown } | undefined;

  /** One batch, then the next when it is due. */
  const write = async () => {
    nextFlushMs = performance.now() + WRITE_INTERVAL_MS;
    const written = filling;
    const batch = written.subarray(0, filled);
    filling = spare ?? Buffer.allocUnsafeSlow(capacity);
    filled = 0;
    try {
      await writer.write([batch]);
      spare = written;
      await onWritten();
    } catch (error) {
      failure = { error };
    }
    flushing = undefined;
    if (filled > 0 && failure === undefined) schedule();
  };
  const flush = (): Promise<void> => {
    clearTimeout(flushTimer);
    flushTimer = undefined;
    flushing ??= write();
    return flushing;
  };
  const schedule = () => {
    const waitMs = nextFlushMs - performance.now();
    if (waitMs <= 0 || filled === capacity) void flush();
    else flushTimer ??= setTimeout(flush, waitMs);
  };

  try {
    for await (const received of body.body) {
      if (failure !== undefined) break;
      let chunk = received;
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length);
        skip -= skipped;
        chunk = chunk.subarray(skipped);
      }
      if (chunk.length === 0) continue;
      position += chunk.length;
      if (sizeBytes !== undefined && position > sizeBytes) {
        throw new WindlassError('DIGEST_MISMATCH', `more than the ${sizeBytes} bytes that its manifest names`);
      }
      while (chunk.length > 0 && failure === undefined) {
        if (filled === capacity) await flush();
        const part = chunk.subarray(0, capacity - filled);
        filling.set(part, filled);
        filled += part.length;
        chunk = chunk.subarray(part.length);
        if (flushing === undefined) schedule();
      }
    }
  } finally {
    // A write that ends may have begun the next.
    while (flushing !== undefined || (filled > 0 && failure === undefined)) await flush();
    clearTimeout(flushTimer);
  }
  // TypeScript does not see that `flush` assigns it.
  const failed = failure as { readonly error: unknown } | undefined;
  if (failed !== undefined) throw failed.error;
}

/** Leaves a body unread, so that its connection and its turn at the registry are free again. */
export async function leaveBody(body: BlobBody): Promise<void> {
  try {
    await body.body[Symbol.asyncIterator]().return?.();
  } catch {
    // A failure to leave what is given up concerns nobody.
  }
}
