import type { FileHandle } from 'node:fs/promises';
import type { Digest } from '../oci/digest.ts';

/**
 * Where bytes are, committed or still being written: handed out instead of a stream, so that a reader may use
 * `read`, or sendfile(2) on `file`, at its own pace and from any offset.
 */
export interface Extent {
  readonly digest: Digest;
  /**
   * The open file that holds the bytes below `fileBytes` at the same positions. Undefined where they are in
   * memory alone. Owned by the extent: never close it.
   */
  readonly file: FileHandle | undefined;
  readonly fileBytes: number;
  /**
   * Copies bytes from `position` on into `target`.
   * @returns how many: at least 1 while `position` is below what is written, 0 at or past it.
   *   Rejects with RangeError for a position that was discarded (see BlobWriter.discard).
   */
  read(target: Uint8Array, position: number): Promise<number>;
}

export interface BlobInfo {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** A committed blob, open. It is neither evicted nor deleted from under its reader until closed. */
export interface OpenBlob extends Extent {
  readonly sizeBytes: number;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * A blob being written, by one writer. Calls do not overlap: the writer awaits each `write`; `read` may be called
 * at any time by any number of readers.
 *
 * ```
 *   kept:    [0 ───────────── written)            all of it in the file
 *   passing: [0 ── fileBytes)  …  [floor ── written)   no room: the rest is held in memory, from `floor` on
 * ```
 * A writer starts as kept and becomes passing when the quota or the disk has no room even after eviction, or the
 * system refuses to write for whatever reason; it never goes back. A passing blob is verified, but never kept.
 */
export interface BlobWriter extends Extent {
  /** Bytes written, those taken over from an earlier, unfinished writer included. */
  readonly written: number;
  /** False once the bytes will not be kept. */
  readonly kept: boolean;
  /** While passing: the lowest position still held in memory. While kept: 0. */
  readonly floor: number;
  /** Appends. Resolves when the bytes can be read. Never rejects for want of room. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** While passing: bytes below `position` in memory are needed no more. No effect while kept. */
  discard(position: number): void;
  /**
   * Ends the blob: checks the digest of all bytes. Resolves if it holds, else rejects with DIGEST_MISMATCH.
   * To be called once, before commit.
   */
  verify(): Promise<void>;
  /**
   * After verify: syncs, renames into the store, and makes it visible. What was read before can be read on until
   * `close`. While passing, or if the disk fails only now: resolves, with nothing kept (and `kept` false).
   */
  commit(): Promise<void>;
  /**
   * Gives up. `keep` leaves the bytes for a later writer of the same digest to resume (no effect while passing,
   * or after verify failed): else they are deleted.
   */
  cancel(options?: { readonly keep?: boolean }): Promise<void>;
  /** The file is closed and memory freed: after commit or cancel, when the last reader left. Idempotent. */
  close(): Promise<void>;
}

export type StoreEvent =
  | { readonly type: 'committed'; readonly digest: Digest; readonly sizeBytes: number }
  | { readonly type: 'removed'; readonly digest: Digest; readonly reason: 'evicted' | 'deleted' | 'corrupt' };

export interface StoreStats {
  readonly blobs: number;
  /** Committed bytes. */
  readonly blobBytes: number;
  /** Bytes of unfinished files, and reservations of running writers beyond what they wrote. */
  readonly ingestBytes: number;
  readonly maxBytes: number;
}

/** Verified blobs by digest. Only what has its digest is ever visible. */
export interface BlobStore {
  /** Opens the store, recovers from a crash, finds what is held. @throws STORE_UNUSABLE */
  start(): Promise<void>;
  /** Closes it. Writers still open are cancelled, their bytes kept for resuming. */
  stop(): Promise<void>;
  /** Is it held? From memory, without a system call. */
  stat(digest: Digest): BlobInfo | undefined;
  /** Opens a held blob and marks it as used. Undefined if it is not held (a file that has vanished included). */
  open(digest: Digest): Promise<OpenBlob | undefined>;
  /** How much an earlier, unfinished writer of that digest left: what `create` takes over. Without a system call. */
  unfinishedBytes(digest: Digest): number;
  /**
   * Starts writing, taking over the bytes of an earlier, unfinished writer of that digest.
   * @param options.sizeBytes reserves that much, evicting if need be; without it room is found as it grows.
   * @param options.fresh deletes earlier bytes instead of resuming.
   * @throws Error if a writer of that digest is open: callers share one.
   */
  create(
    digest: Digest,
    options?: { readonly sizeBytes?: number | undefined; readonly fresh?: boolean },
  ): Promise<BlobWriter>;
  /** Removes a blob. One being read goes when its last reader closes, and is not served from then on. */
  delete(digest: Digest, reason?: 'deleted' | 'corrupt'): Promise<boolean>;
  /** All that is held, least recently used first. */
  list(): Iterable<BlobInfo>;
  stats(): StoreStats;
  /** Listeners are called after the fact, must not throw, and cannot hold up the store. @returns unsubscribe */
  subscribe(listener: (event: StoreEvent) => void): () => void;
}
