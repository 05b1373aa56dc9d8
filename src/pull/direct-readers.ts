import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobReader } from './blob-reader.ts';
import type { BlobSource } from './blob-source.ts';
import { leaveBody } from './body-copy.ts';
import { DirectReader } from './direct-reader.ts';

/** A closed range up to this size that begins so far past the writer may be fetched by itself. */
const FAR_RANGE_BYTES = 8 * 1024 * 1024;
const FAR_AHEAD_BYTES = 64 * 1024 * 1024;
/** At most so many direct readers a blob: what lazy-pulling snapshotters ask for must not become a second pull. */
const MAX_DIRECT_PER_BLOB = 2;

export interface RangeHint {
  /** The first byte that the reader wants. */
  readonly start: number;
  /** The last, inclusive, if the reader said. */
  readonly end: number | undefined;
}

/** Opens direct readers, a bounded number for each blob. */
export class DirectReaders {
  readonly #source: BlobSource;
  readonly #taken = new Map<Digest, number>();

  constructor(source: BlobSource) {
    this.#source = source;
  }

  /**
   * @param sizeBytes of the whole blob, if known.
   * @returns undefined if too many of this blob are open. @throws what the source throws.
   */
  async open(
    origin: RepositoryName,
    digest: Digest,
    range: RangeHint,
    sizeBytes: number | undefined,
    signal: AbortSignal,
  ): Promise<BlobReader | undefined> {
    const free = this.#take(digest);
    if (free === undefined) return undefined;
    // The signal bounds the opening; from then on the reader's close ends it.
    const abort = new AbortController();
    const onAbort = () => abort.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const { start, end } = range;
      const options = { offset: start, ...(end === undefined ? {} : { end }), signal: abort.signal };
      const body = await this.#source.open(origin, digest, options);
      if (body.offset > start || (sizeBytes !== undefined && (body.sizeBytes ?? sizeBytes) !== sizeBytes)) {
        await leaveBody(body);
        throw new WindlassError('UPSTREAM_NONSENSE', `${digest}: other bytes, or another size, than were asked for`);
      }
      return new DirectReader(digest, body, body.sizeBytes ?? sizeBytes, () => {
        free();
        abort.abort(new Error('the reader left'));
      });
    } catch (error) {
      free();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * For a range far ahead of an ingest, which can be waited for as well: undefined too where the source does not
   * give just that range (it would be a second pull), or fails.
   */
  async openFar(
    origin: RepositoryName,
    digest: Digest,
    range: RangeHint,
    sizeBytes: number | undefined,
    signal: AbortSignal,
  ): Promise<BlobReader | undefined> {
    let reader: BlobReader | undefined;
    try {
      reader = await this.open(origin, digest, range, sizeBytes, signal);
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
    if (reader === undefined || (reader.available === range.start && reader.sizeBytes !== undefined)) return reader;
    reader.close();
    return undefined;
  }

  /** @returns what frees the place again, or undefined if none is free. */
  #take(digest: Digest): (() => void) | undefined {
    const taken = this.#taken.get(digest) ?? 0;
    if (taken >= MAX_DIRECT_PER_BLOB) return undefined;
    this.#taken.set(digest, taken + 1);
    return () => {
      const left = (this.#taken.get(digest) ?? 1) - 1;
      if (left === 0) this.#taken.delete(digest);
      else this.#taken.set(digest, left);
    };
  }
}

/** For a pull that is told to come back: what a full disk could not hold is asked for by too many at once. */
export function tooManyDirect(digest: Digest): WindlassError {
  return new WindlassError(
    'UPSTREAM_UNAVAILABLE',
    `${digest} cannot be kept (disk full) and is being passed on already`,
  );
}

/** May a range be fetched by itself, while the writer is where it is? */
export function isFarRange(
  { start, end }: RangeHint,
  { written, sizeBytes }: { readonly written: number; readonly sizeBytes: number | undefined },
): boolean {
  if (end === undefined || end < start || start >= (sizeBytes ?? Number.POSITIVE_INFINITY)) return false;
  return end - start < FAR_RANGE_BYTES && start - written > FAR_AHEAD_BYTES;
}
