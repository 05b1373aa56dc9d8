// Over 300 lines: the one place where the writer, its readers, here and elsewhere, and its ends meet.

import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobStore, BlobWriter, Extent } from '../store/blob-store.ts';
import { BlobFetch, type BlobFetchOptions } from './blob-fetch.ts';
import type { BlobReader } from './blob-reader.ts';
import { Grace } from './grace.ts';
import { availableTo, offeredOf, readSmall } from './ingest-parts.ts';
import { IngestPhases } from './ingest-phases.ts';
import { IngestReader, type IngestView } from './ingest-reader.ts';
import { IngestReaders } from './ingest-readers.ts';
import { Origins } from './origins.ts';
import { RecentRate } from './recent-rate.ts';
import type { SwarmSource } from './swarm-source.ts';
import { Wakeup } from './wakeup.ts';

export interface IngestOptions extends Omit<BlobFetchOptions, 'unfinishedBytes'> {
  readonly id: string;
  readonly store: BlobStore;
  /** With no reader left, what still lacks more than this is given up (its bytes stay for resuming). */
  readonly finishLimitBytes: number;
  /** Its last source, where there is a swarm. */
  readonly swarm?: SwarmSource | undefined;
  /** Shared with whoever knows when the claim was answered. */
  readonly phases?: IngestPhases;
}

export type IngestEnd =
  | { readonly state: 'committed' | 'passed' }
  /** `blamed`: whose answer, or whose manifest's size, it failed by. */
  | { readonly state: 'failed'; readonly error: WindlassError; readonly blamed: RepositoryName };

export type IngestState = 'opening' | 'writing' | 'verifying' | 'committed' | 'passed' | 'failed';

/**
 * One blob on its way in: one writer, any number of readers.
 *
 * ```
 *  source ──copyBody──▶ [ 0 ─────────── available │ tail · · · size ]   the store's writer (a temp file)
 *                            ▲        ▲
 *                        reader A   reader B      each at its own pace, from any offset
 *
 *  opening ──▶ writing ──▶ verifying ──▶ committed      kept by the store
 *                │ ▲            │   └──▶ passed         verified, but there was no room
 *                │ └ resume     │
 *                └──────────────┴──────▶ failed         readers get what is there, then the error
 * ```
 * Readers hold nothing that the writer waits for; only while passing (no room on the disk) it waits for the slowest
 * of them, within a bound (see IngestReaders).
 */
export class Ingest implements IngestView {
  readonly id: string;
  readonly digest: Digest;
  readonly changed = new Wakeup();
  readonly startedAtMs = Date.now();
  /** Where its time goes. */
  readonly phases: IngestPhases;
  readonly #options: IngestOptions;
  readonly #fetch: BlobFetch;
  readonly #readers = new IngestReaders();
  readonly #abort = new AbortController();
  #state: IngestState = 'opening';
  #writer: BlobWriter | undefined;
  readonly #rate = new RecentRate();
  readonly #grace = new Grace(
    () => this.#isIdle(),
    () => this.#giveUp(),
  );
  #digestHolds = false;
  #released = false;
  #failure: WindlassError | undefined;
  readonly #logger: Logger;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.id = options.id;
    this.digest = options.digest;
    this.phases = options.phases ?? new IngestPhases();
    this.#logger = options.logger.child({ ingest: options.id, digest: options.digest });
    this.#fetch = new BlobFetch(
      { ...options, unfinishedBytes: options.store.unfinishedBytes(options.digest), logger: this.#logger },
      {
        onChange: () => this.changed.wake(),
        openWriter: (sizeBytes) => this.#openWriter(sizeBytes),
        onWritten: (writer) => this.#wrote(writer),
      },
    );
  }

  /** Who asked for it first. */
  get origin(): RepositoryName {
    return this.#options.origin;
  }

  get state(): IngestState {
    return this.#state;
  }

  /** It has failed, or was told to stop: a new reader is better off with the ingest that comes after it. */
  get failing(): boolean {
    return this.#state === 'failed' || (this.#abort.signal.aborted && this.#isFetching());
  }

  /** Why it failed, if its bytes were not the digest's, or not as many. */
  get wrong(): WindlassError | undefined {
    return hasCode(this.#failure, 'DIGEST_MISMATCH') ? this.#failure : undefined;
  }

  get sizeBytes(): number | undefined {
    return this.#fetch.sizeBytes;
  }

  get written(): number {
    return this.#writer?.written ?? 0;
  }

  /** Readers of this node; those of others are children. */
  get readerCount(): number {
    return this.#readers.size - this.#readers.children;
  }

  get children(): number {
    return this.#readers.children;
  }

  /** Lately. */
  get bytesPerSecond(): number {
    return this.#isFetching() ? this.#rate.perSecond(this.written) : 0;
  }

  /** Of a small blob that was committed, its bytes, if they can be read. To be called before `release`. */
  async inlineBytes(): Promise<Uint8Array | undefined> {
    const writer = this.#writer;
    if (this.#state !== 'committed' || writer === undefined) return undefined;
    return readSmall(writer, writer.written).catch(() => undefined);
  }

  get source(): SourceLabel {
    const { source } = this.#fetch;
    return source === 'none' ? 'upstream' : source;
  }

  get verified(): boolean {
    return this.#digestHolds;
  }

  get answered(): boolean {
    return this.#fetch.answered || this.#digestHolds;
  }

  get extent(): Extent | undefined {
    return this.#writer;
  }

  get available(): number {
    return availableTo(this);
  }

  get offered(): number {
    return offeredOf(this);
  }

  /** A reader for another agent, from the piece at `position` on. Undefined if its bytes are gone. */
  joinAsChild(position: number): IngestReader | undefined {
    return this.#canServe(position)
      ? this.#add({ originKey: '', position, first: false, promised: false, forPeer: true })
      : undefined;
  }

  /**
   * A reader from `position` on, which also offers its own repository as a place to fetch from. Undefined if the
   * bytes from there on are gone (see BlobWriter: passing).
   * @param options.promisedBytes the size that the client may be promised, if any.
   * @throws what this repository answered, if that was final.
   */
  join(
    origin: RepositoryName,
    position: number,
    options: { readonly first: boolean; readonly promisedBytes: number | undefined },
  ): BlobReader | undefined {
    const originKey = Origins.keyOf(origin);
    const refused = this.#digestHolds ? undefined : this.#fetch.origins.failureOf(originKey, 'final');
    if (refused !== undefined) throw refused;
    if (!this.#canServe(position)) return undefined;
    this.#fetch.origins.add(origin);
    return this.#add({
      originKey,
      position,
      first: options.first,
      // Another repository's manifest may have told this ingest another size: then nothing is promised.
      promised: options.promisedBytes !== undefined && options.promisedBytes === this.sizeBytes,
    });
  }

  failureOf(reader: IngestReader): WindlassError | undefined {
    const own = this.#fetch.origins.failureOf(reader.originKey, 'final');
    if (own !== undefined || this.#failure === undefined) return own;
    // What this reader's own repository answered tells it more than the last one's answer.
    return hasCode(this.#failure, 'DIGEST_MISMATCH', 'STOPPING')
      ? this.#failure
      : (this.#fetch.origins.failureOf(reader.originKey) ?? this.#failure);
  }

  moved(): void {
    this.#readers.moved();
  }

  left(reader: IngestReader): void {
    this.#readers.delete(reader);
    this.#closeIfUnread();
    this.#grace.look();
  }

  /** Nobody can join any more: its bytes are given up when the last reader leaves. */
  release(): void {
    this.#released = true;
    this.#closeIfUnread();
  }

  /** Ends it; what was written stays for a later ingest to resume. */
  stop(reason: WindlassError): void {
    this.#abort.abort(reason);
  }

  /**
   * Runs it to its end. Never rejects: readers learn of failures, and the caller from what is returned. To be
   * followed by `release`.
   */
  async run(): Promise<IngestEnd> {
    const { metrics } = this.#options;
    metrics.ingestsRunning.inc();
    try {
      return { state: await this.#finish(await this.#fetch.run(this.#abort.signal)) };
    } catch (cause) {
      const error =
        cause instanceof WindlassError
          ? cause
          : new WindlassError('STORE_UNUSABLE', `ingest failed: ${String(cause)}`, { cause });
      await this.#fail(error);
      return { state: 'failed', error, blamed: this.#fetch.blamed };
    } finally {
      this.#grace.end();
      metrics.ingestsRunning.dec();
      metrics.ingests.inc({ result: this.#state });
      this.changed.wake();
    }
  }

  #add(options: ConstructorParameters<typeof IngestReader>[1]): IngestReader {
    const reader = new IngestReader(this, options);
    this.#readers.add(reader);
    this.#grace.end();
    return reader;
  }

  async #openWriter(sizeBytes: number | undefined): Promise<BlobWriter> {
    const { store, digest, metrics } = this.#options;
    const writer = await store.create(digest, { sizeBytes });
    this.#writer = writer;
    this.#state = 'writing';
    this.#rate.at(writer.written);
    if (writer.written > 0) {
      metrics.ingestResumes.inc({ reason: 'restart' });
      this.#logger.info({ offset: writer.written }, 'ingest resumes an unfinished file');
    }
    this.changed.wake();
    return writer;
  }

  async #wrote(writer: BlobWriter): Promise<void> {
    this.phases.ended('firstByte');
    this.#rate.at(writer.written);
    this.changed.wake();
    this.#grace.look();
    await this.#readers.makeRoom(writer, this.#abort.signal, () => this.changed.wake());
  }

  async #finish(writer: BlobWriter): Promise<'committed' | 'passed'> {
    this.#state = 'verifying';
    this.phases.ended('transfer');
    this.#options.swarm?.verifying(writer.written);
    await writer.verify();
    this.phases.ended('verify');
    // Readers need not wait for the disk.
    this.#digestHolds = true;
    this.changed.wake();
    let state: 'committed' | 'passed' = 'passed';
    try {
      await writer.commit();
      if (writer.kept) state = 'committed';
    } catch (error) {
      this.#logger.error({ err: error }, 'blob is right, but could not be kept');
      await this.#cancel(writer, false);
    }
    this.phases.ended('commit');
    this.#state = state;
    this.#logger.info({ sizeBytes: writer.written, ms: Date.now() - this.startedAtMs, state }, 'ingest ended');
    return state;
  }

  async #fail(error: WindlassError): Promise<void> {
    this.#failure = error;
    this.#state = 'failed';
    const mismatch = hasCode(error, 'DIGEST_MISMATCH');
    if (mismatch) this.#options.metrics.verificationFailures.inc({ source: this.#fetch.source });
    this.#logger[mismatch ? 'error' : 'warn'](
      { err: error, origin: Origins.keyOf(this.#fetch.blamed), written: this.written },
      'ingest failed',
    );
    this.changed.wake();
    if (this.#writer !== undefined) await this.#cancel(this.#writer, !mismatch);
  }

  async #cancel(writer: BlobWriter, keep: boolean): Promise<void> {
    try {
      await writer.cancel({ keep });
    } catch (error) {
      this.#logger.error({ err: error }, 'unfinished file could not be put away');
    }
  }

  #closeIfUnread(): void {
    if (!this.#released || this.#readers.size > 0) return;
    this.#writer?.close().catch((error) => this.#logger.error({ err: error }, 'file could not be closed'));
  }

  #canServe(position: number): boolean {
    const writer = this.#writer;
    if (writer === undefined || writer.kept || position >= writer.floor) return true;
    // What lies in the file leads on to what is in memory only as long as nothing of that was discarded.
    return writer.floor <= writer.fileBytes;
  }

  #isFetching(): boolean {
    return this.#state === 'opening' || this.#state === 'writing';
  }

  /** With no reader, here or elsewhere, for a while: goes on, unless too much is lacking, or nothing would be kept. */
  #isIdle(): boolean {
    return this.#readers.size === 0 && this.#isFetching() && !this.#isWorthwhile();
  }

  #giveUp(): void {
    const why = this.#writer?.kept === false ? 'no room' : 'others write it, or too much is lacking';
    this.stop(new WindlassError('STOPPING', `no reader left, and ${why}`));
  }

  #isWorthwhile(): boolean {
    if (this.#writer?.kept === false) return false;
    // Others have it whole, or will: what this node does not want, it need not have.
    if (this.#options.swarm?.role === 'reader') return false;
    // Of an unknown size: as much again as there is.
    const lacking = this.sizeBytes === undefined ? this.written : this.sizeBytes - this.written;
    return lacking <= this.#options.finishLimitBytes;
  }
}
