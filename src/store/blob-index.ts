import type { Digest } from '../oci/digest.ts';
import type { BlobInfo, StoreEvent } from './blob-store.ts';

/** A committed blob, as the index knows it. */
export interface HeldBlob extends BlobInfo {
  /** Readers, and the writer until it is closed. Not evicted while above 0. Owned by the index. */
  pins: number;
}

/**
 * What is held, in order of use, and how many bytes that is.
 *
 * A blob that is removed while pinned is invisible at once, but takes up space until its last pin goes: until then
 * its bytes are `lingering`. They are no longer the store's (`stats` does not show them), yet they count against
 * the quota.
 */
export class BlobIndex<B extends HeldBlob> {
  /** Least recently used first: a Map iterates in order of insertion, and use inserts again. */
  readonly #blobs = new Map<Digest, B>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  readonly #onListenerError: (error: unknown) => void;
  #bytes = 0;
  #lingeringBytes = 0;

  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  get size(): number {
    return this.#blobs.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get lingeringBytes(): number {
    return this.#lingeringBytes;
  }

  get(digest: Digest): B | undefined {
    return this.#blobs.get(digest);
  }

  /** Is it this very one that is held, not a later one of the same digest? */
  holds(blob: B): boolean {
    return this.#blobs.get(blob.digest) === blob;
  }

  /** Adds as the most recently used. One of the same digest is replaced, without an event: it is held all along. */
  add(blob: B): void {
    const old = this.#blobs.get(blob.digest);
    if (old !== undefined) this.#take(old);
    this.#blobs.set(blob.digest, blob);
    this.#bytes += blob.sizeBytes;
  }

  use(blob: B): void {
    if (!this.holds(blob)) return;
    this.#blobs.delete(blob.digest);
    this.#blobs.set(blob.digest, blob);
  }

  /** @returns false if it is not held (any more). */
  remove(blob: B, reason: 'evicted' | 'deleted' | 'corrupt'): boolean {
    if (!this.holds(blob)) return false;
    this.#take(blob);
    this.emit({ type: 'removed', digest: blob.digest, reason });
    return true;
  }

  pin(blob: B): void {
    blob.pins += 1;
  }

  unpin(blob: B): void {
    blob.pins -= 1;
    if (blob.pins === 0 && !this.holds(blob)) this.#lingeringBytes -= blob.sizeBytes;
  }

  values(): IterableIterator<B> {
    return this.#blobs.values();
  }

  /** What to evict, least recently used first, so that at least `bytes` go, or all that is neither pinned nor `exempt`. */
  coldest(bytes: number, exempt: (digest: Digest) => boolean): { readonly blobs: B[]; readonly bytes: number } {
    const blobs: B[] = [];
    let sum = 0;
    for (const blob of this.#blobs.values()) {
      if (sum >= bytes) break;
      if (blob.pins > 0 || exempt(blob.digest)) continue;
      blobs.push(blob);
      sum += blob.sizeBytes;
    }
    return { blobs, bytes: sum };
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: StoreEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }

  #take(blob: B): void {
    this.#blobs.delete(blob.digest);
    this.#bytes -= blob.sizeBytes;
    if (blob.pins > 0) this.#lingeringBytes += blob.sizeBytes;
  }
}
