import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { Extent } from '../store/blob-store.ts';

/**
 * One reader of a blob, committed or still arriving. It follows at its own pace, from any position, and holds
 * nobody up. Bytes can be taken with `read`, or straight from `extent.file` (positions below both `available` and
 * `extent.fileBytes`).
 *
 * ```
 *   const sizeBytes = await reader.opened(signal);
 *   while (await reader.wait(position, signal)) position += await reader.read(buffer, position);
 *   reader.close();
 * ```
 */
export interface BlobReader {
  readonly digest: Digest;
  /** `store`: it was held. `ingest`: another request had started it. Else where this request got it from. */
  readonly source: SourceLabel;
  /** Of the ingest that it follows, for logs. */
  readonly ingestId: string | undefined;
  readonly sizeBytes: number | undefined;
  /**
   * May a client be promised `sizeBytes` before a source has answered? True where a manifest named the size and
   * nothing speaks against it: a slow upstream must not become a 503, which sends every node there directly.
   */
  readonly promised: boolean;
  /** Bytes below this position may be read now. The last ones are held back until the digest is verified. */
  readonly available: number;
  /** Where the bytes are; undefined before the first byte can be read. */
  readonly extent: Extent | undefined;
  /** Resolves with the size when a source has answered; with undefined if it did not say. Rejects if none can. */
  opened(signal: AbortSignal): Promise<number | undefined>;
  /**
   * Waits until the byte at `position` can be read: true; or the blob ends there: false. Rejects if the blob
   * cannot be finished. Tells that bytes below `position` are needed no more.
   */
  wait(position: number, signal: AbortSignal): Promise<boolean>;
  /** After `wait(position)` was true: copies at least 1 byte, at most `target.length`. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** The reader leaves. Idempotent; to be called always. */
  close(): void;
}
