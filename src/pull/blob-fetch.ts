import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import { type Digest, isDigestOfNothing } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobWriter } from '../store/blob-store.ts';
import type { BlobSource } from './blob-source.ts';
import { copyBody, leaveBody } from './body-copy.ts';
import { isFinal, Origins } from './origins.ts';
import { Retry } from './retry.ts';

export interface BlobFetchOptions {
  readonly digest: Digest;
  readonly origin: RepositoryName;
  /** As the manifest that named it says. */
  readonly sizeBytes: number | undefined;
  /** What an earlier ingest left for `openWriter` to take over. */
  readonly unfinishedBytes: number;
  /** In the order in which they are asked. */
  readonly sources: readonly BlobSource[];
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface FetchListener {
  /** A source answered, or a repository failed. */
  onChange(): void;
  /** Called once, when a source has answered. `sizeBytes` of the whole blob, if it is known. */
  openWriter(sizeBytes: number | undefined): Promise<BlobWriter>;
  /** After each write; holding it up holds up the source. */
  onWritten(writer: BlobWriter): void | Promise<void>;
}

/**
 * Brings a blob's bytes to its writer: from which source, of which repository, again after failures. The writer is
 * opened, and so room made for it, when a source has answered: a manifest's word alone moves nothing out of a store.
 */
export class BlobFetch {
  readonly origins = new Origins();
  readonly #options: BlobFetchOptions;
  readonly #listener: FetchListener;
  readonly #retry = new Retry();
  #sizeBytes: number | undefined;
  #writer: BlobWriter | undefined;
  #answered = false;
  #blamed: RepositoryName;
  #source: BlobSource | undefined;

  constructor(options: BlobFetchOptions, listener: FetchListener) {
    this.#options = options;
    this.#listener = listener;
    this.#sizeBytes = options.sizeBytes;
    this.#blamed = options.origin;
    this.origins.add(options.origin);
  }

  get sizeBytes(): number | undefined {
    return this.#sizeBytes;
  }

  /** A source has answered. */
  get answered(): boolean {
    return this.#answered;
  }

  /** By whose answer, or whose manifest's size, it failed if the bytes are wrong. */
  get blamed(): RepositoryName {
    return this.#blamed;
  }

  /** Where the last bytes came from. */
  get source(): SourceLabel {
    return this.#source?.label ?? 'none';
  }

  /**
   * Writes until the blob is whole; goes on after cuts, with the next source or repository after failures.
   * @returns the writer that has it all.
   * @throws what the last repository failed with; DIGEST_MISMATCH; what the writer throws; the signal's reason.
   */
  async run(signal: AbortSignal): Promise<BlobWriter> {
    while (this.#sizeBytes === undefined || this.#position < this.#sizeBytes) {
      const origin = this.origins.current();
      if (origin === undefined) throw this.origins.lastFailure ?? new WindlassError('NOT_FOUND', 'no origin');
      const before = this.#position;
      try {
        await this.#fetchOnce(origin, signal);
        if (this.#position === this.#sizeBytes) break;
        throw new WindlassError('UPSTREAM_UNAVAILABLE', `ended after ${this.#position} of ${this.#sizeBytes} bytes`);
      } catch (error) {
        signal.throwIfAborted();
        if (!isSourceFailure(error)) throw error;
        if (this.#position > before) this.#retry.progressed();
        await this.#goOn(origin, error, signal);
      }
    }
    return this.#openWriter();
  }

  /** What is written, or will be taken over. */
  get #position(): number {
    if (this.#writer !== undefined) return this.#writer.written;
    const { unfinishedBytes } = this.#options;
    return unfinishedBytes > (this.#sizeBytes ?? unfinishedBytes) ? 0 : unfinishedBytes;
  }

  async #openWriter(): Promise<BlobWriter> {
    this.#writer ??= await this.#listener.openWriter(this.#sizeBytes);
    return this.#writer;
  }

  /** Waits before another try of this repository, or gives it up. */
  async #goOn(origin: RepositoryName, error: WindlassError, signal: AbortSignal): Promise<void> {
    const { logger, metrics } = this.#options;
    const delayMs = isFinal(error) ? undefined : this.#retry.nextDelayMs(error);
    logger.warn({ origin: Origins.keyOf(origin), offset: this.#position, err: error, delayMs }, 'source broke off');
    if (delayMs === undefined) {
      this.origins.fail(origin, error);
      this.#retry.reset();
      this.#listener.onChange();
      return;
    }
    if (this.#position > 0) {
      metrics.ingestResumes.inc({ reason: hasCode(error, 'UPSTREAM_STALLED') ? 'stall' : 'cut' });
    }
    await this.#retry.pause(delayMs, signal);
  }

  /** One answer of one source, to its end. */
  async #fetchOnce(origin: RepositoryName, signal: AbortSignal): Promise<void> {
    const { sources, logger } = this.#options;
    const before = this.#position;
    for (const source of sources) {
      try {
        await this.#copyFrom(source, origin, signal);
        return;
      } catch (error) {
        // A source that fails before it gave anything leaves the turn to the next; the last one's word stands.
        const passesOn = isSourceFailure(error) && this.#position === before && !signal.aborted;
        if (!passesOn || source === sources.at(-1)) throw error;
        logger.debug({ source: source.label, err: error }, 'source passed over');
      }
    }
  }

  async #copyFrom(source: BlobSource, origin: RepositoryName, signal: AbortSignal): Promise<void> {
    const offset = this.#position;
    const body = await source.open(origin, this.#options.digest, { offset, sizeBytes: this.#sizeBytes, signal });
    let writer: BlobWriter;
    this.#source = source;
    try {
      if (body.offset > offset) {
        throw new WindlassError('UPSTREAM_NONSENSE', `begins at ${body.offset}, asked for ${offset}`);
      }
      this.#learnSize(body.sizeBytes, origin);
      writer = await this.#openWriter();
      if (body.offset > writer.written) {
        throw new WindlassError('UPSTREAM_UNAVAILABLE', 'what was to be resumed has made room meanwhile: once more');
      }
    } catch (error) {
      await leaveBody(body);
      throw error;
    }
    this.#blamed = origin;
    await copyBody(body, writer, this.#sizeBytes, () => this.#listener.onWritten(writer));
    // A source that did not say a size, and came to its end, has told it.
    this.#sizeBytes ??= writer.written;
  }

  #learnSize(sizeBytes: number | undefined, origin: RepositoryName): void {
    // Told on, this would be the one wrong answer that a client takes for whole: no byte of it can be held back.
    if (sizeBytes === 0 && !isDigestOfNothing(this.#options.digest)) {
      throw new WindlassError('UPSTREAM_NONSENSE', `${Origins.keyOf(origin)} has 0 bytes for ${this.#options.digest}`);
    }
    if (sizeBytes !== undefined && this.#sizeBytes !== undefined && this.#sizeBytes !== sizeBytes) {
      // A size that no source has confirmed is the word of the manifest that began this.
      if (this.#answered) this.#blamed = origin;
      throw new WindlassError(
        'DIGEST_MISMATCH',
        `${Origins.keyOf(origin)} has ${sizeBytes} bytes where ${this.#sizeBytes} were expected`,
      );
    }
    this.#sizeBytes ??= sizeBytes;
    this.#answered = true;
    this.#listener.onChange();
  }
}

/** Something that another try, or another source, may do better; not a fault of the bytes or of this node. */
function isSourceFailure(error: unknown): error is WindlassError {
  return (
    error instanceof WindlassError &&
    !hasCode(error, 'DIGEST_MISMATCH', 'STORE_UNUSABLE', 'STOPPING', 'READER_TOO_SLOW')
  );
}
