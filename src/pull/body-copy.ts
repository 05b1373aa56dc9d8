import { WindlassError } from '../errors.ts';
import type { BlobWriter } from '../store/blob-store.ts';
import type { BlobBody } from '../upstream/registry-client.ts';

/**
 * What may wait in memory for the write before it: past this, the source is read no further.
 * What waits through two collections grows old, and V8 frees what is old late: with 4 MiB, 30 to 60 MiB lay about.
 */
const MAX_PENDING_BYTES = 1024 * 1024;
/**
 * Writes begin at least this far apart, unless that many bytes wait: a link brings bytes by the packet, and a write,
 * a hash and a read by every reader for each of them took more than a core at 200 Mbit/s (test/bench/README.md).
 */
const WRITE_INTERVAL_MS = 16;
const WRITE_BYTES = 512 * 1024;
/** Of a body's beginning, which clients do wait for. */
const EAGER_INTERVAL_MS = 4;
const EAGER_BYTES = 1024 * 1024;

/**
 * Appends a source's bytes to a writer. The first bytes wait for nothing; then what arrives within a few
 * milliseconds, or while a write is under way, is written together.
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
  const start = writer.written;
  let skip = start - body.offset;
  let position = start;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let flushing: Promise<void> | undefined;
  let flushTimer: NodeJS.Timeout | undefined;
  let nextFlushMs = 0;
  let failure: { readonly error: unknown } | undefined;

  /** One batch, then the next when it is due. */
  const write = async () => {
    nextFlushMs = performance.now() + (position - start < EAGER_BYTES ? EAGER_INTERVAL_MS : WRITE_INTERVAL_MS);
    const batch = pending;
    pending = [];
    pendingBytes = 0;
    try {
      await writer.write(batch);
      await onWritten();
    } catch (error) {
      failure = { error };
    }
    flushing = undefined;
    if (pending.length > 0 && failure === undefined) schedule();
  };
  const flush = (): Promise<void> => {
    clearTimeout(flushTimer);
    flushTimer = undefined;
    flushing ??= write();
    return flushing;
  };
  const schedule = () => {
    const waitMs = nextFlushMs - performance.now();
    if (waitMs <= 0 || pendingBytes >= WRITE_BYTES) void flush();
    else flushTimer ??= setTimeout(flush, waitMs);
  };

  /** A write that ends may have begun the next. */
  const writeAll = async () => {
    while (flushing !== undefined || (pending.length > 0 && failure === undefined)) await flush();
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
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (body.reused === true) await writeAll();
      else if (flushing === undefined) schedule();
      else if (pendingBytes >= MAX_PENDING_BYTES) await flushing;
    }
  } finally {
    await writeAll();
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
