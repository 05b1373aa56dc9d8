import type { WindlassError } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { Extent } from '../store/blob-store.ts';
import type { BlobReader } from './blob-reader.ts';
import type { Wakeup } from './wakeup.ts';

/** What a reader sees of its ingest. */
export interface IngestView {
  readonly id: string;
  readonly digest: Digest;
  readonly sizeBytes: number | undefined;
  readonly available: number;
  /** What other agents may have: whole pieces, the last one when the digest holds. */
  readonly offered: number;
  /** Where its bytes come from. */
  readonly source: SourceLabel;
  readonly extent: Extent | undefined;
  /** All bytes are there and have their digest. */
  readonly verified: boolean;
  /** A source has answered: `sizeBytes` will not become known before the end if it is not now. */
  readonly answered: boolean;
  readonly changed: Wakeup;
  /** Why this reader's pull cannot go on, if so. */
  failureOf(reader: IngestReader): WindlassError | undefined;
  moved(): void;
  left(reader: IngestReader): void;
}

/** Follows an ingest; see BlobReader. */
export class IngestReader implements BlobReader {
  /** For another agent, and not for a client. */
  readonly forPeer: boolean;
  readonly promised: boolean;
  /** The key of the origin that this reader named. */
  readonly originKey: string;
  /** Bytes below are needed no more. */
  position: number;
  /** Set when the ingest left this reader behind. */
  evicted: WindlassError | undefined;
  readonly #ingest: IngestView;
  readonly #first: boolean;
  #closed = false;

  constructor(
    ingest: IngestView,
    options: { originKey: string; position: number; first: boolean; promised: boolean; forPeer?: boolean },
  ) {
    this.#ingest = ingest;
    this.#first = options.first;
    this.forPeer = options.forPeer ?? false;
    this.originKey = options.originKey;
    this.position = options.position;
    this.promised = options.promised;
  }

  get digest(): Digest {
    return this.#ingest.digest;
  }

  /** Who began the ingest waits for its source, others for what runs already. */
  get source(): SourceLabel {
    return this.#first ? this.#ingest.source : 'ingest';
  }

  get ingestId(): string {
    return this.#ingest.id;
  }

  get sizeBytes(): number | undefined {
    return this.#ingest.sizeBytes;
  }

  get available(): number {
    return this.forPeer ? this.#ingest.offered : this.#ingest.available;
  }

  get extent(): Extent | undefined {
    return this.#ingest.extent;
  }

  async opened(signal: AbortSignal): Promise<number | undefined> {
    while (!this.#ingest.answered && !this.#ingest.verified) {
      this.#throwIfFailed();
      await this.#ingest.changed.wait(signal);
    }
    return this.#ingest.sizeBytes;
  }

  async wait(position: number, signal: AbortSignal): Promise<boolean> {
    if (position > this.position) {
      this.position = position;
      this.#ingest.moved();
    }
    for (;;) {
      if (this.evicted !== undefined) throw this.evicted;
      // What can be read is handed out even when the rest has failed: a client resumes from there.
      if (position < this.available) return true;
      if (this.#ingest.verified) return false;
      this.#throwIfFailed();
      await this.#ingest.changed.wait(signal);
    }
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    if (this.evicted !== undefined) throw this.evicted;
    const extent = this.#ingest.extent;
    const readable = this.available - position;
    if (extent === undefined || readable <= 0) throw new RangeError(`position ${position} cannot be read yet`);
    return extent.read(readable < target.length ? target.subarray(0, readable) : target, position);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ingest.left(this);
  }

  #throwIfFailed(): void {
    const failure = this.#ingest.failureOf(this);
    if (failure !== undefined) throw failure;
  }
}
