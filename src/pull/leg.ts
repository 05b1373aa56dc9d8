import { createHash } from 'node:crypto';
import { hasCode, WindlassError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobBody } from '../upstream/registry-client.ts';
import type { BlobOpening } from './blob-source.ts';
import { leaveBody } from './body-copy.ts';
import type { Lease } from './claims/claims.ts';
import type { ParentStep } from './parent-step.ts';
import type { ParentStream } from './parent-stream.ts';

/** One body, on its way through as many sources as it takes. */
export interface Pull extends BlobOpening {
  readonly origin: RepositoryName;
  /** As claims name it. */
  readonly source: string;
  /** How far bytes were handed on. */
  position: number;
  sizeBytes: number | undefined;
  /** A source said so, and not the manifest alone. */
  sizeConfirmed: boolean;
}

/** Where a pull's next bytes come from. */
export type Leg =
  | { readonly kind: 'upstream'; readonly body: BlobBody; readonly lease: Lease | undefined }
  | { readonly kind: 'parent'; readonly stream: ParentStream; readonly first: ParentStep }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

/** How a blob's ingest ended; see IngestEnd. */
export interface SourceEnd {
  readonly state: 'committed' | 'passed' | 'failed';
  readonly error?: WindlassError;
}

export function sizeOf(leg: Leg): number | undefined {
  if (leg.kind === 'upstream') return leg.body.sizeBytes;
  return leg.kind === 'parent' ? leg.stream.sizeBytes : leg.bytes.length;
}

/** A generator that was not begun has no `finally` to run: who leaves it then, leaves the leg that it was to begin with. */
export function leavingLeg(bytes: AsyncGenerator<Uint8Array, void>, leg: Leg): AsyncIterableIterator<Uint8Array, void> {
  let begun = false;
  return {
    next: () => {
      begun = true;
      return bytes.next();
    },
    return: async () => {
      if (!begun && leg.kind === 'upstream') await leaveBody(leg.body);
      if (!begun && leg.kind === 'parent') leg.stream.leave();
      return bytes.return();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** What is wrong with upstream's answer, as the next leg of a pull. */
export function faultOf(body: BlobBody, pull: Pull): WindlassError | undefined {
  if (body.offset > pull.position) {
    return new WindlassError('UPSTREAM_NONSENSE', `begins at ${body.offset}, asked for ${pull.position}`);
  }
  // Of the first answer the ingest judges itself.
  if (pull.position === pull.offset || body.sizeBytes === undefined || pull.sizeBytes === undefined) return undefined;
  if (body.sizeBytes === pull.sizeBytes) return undefined;
  return new WindlassError(
    'DIGEST_MISMATCH',
    `upstream has ${body.sizeBytes} bytes where ${pull.sizeBytes} were expected`,
  );
}

export function hasDigest(bytes: Uint8Array, digest: Digest): boolean {
  return createHash(algorithmOf(digest)).update(bytes).digest('hex') === hexOf(digest);
}

/** Does it say something of the registry, and not of this node? */
export function isUpstreams(error: WindlassError | undefined): error is WindlassError {
  return error !== undefined && !hasCode(error, 'STOPPING', 'STORE_UNUSABLE', 'READER_TOO_SLOW', 'DIGEST_MISMATCH');
}

/** What a parent's ingest failed with is told in the text, or as the cause. */
export function saysMismatch(error: WindlassError): boolean {
  return hasCode(error.cause, 'DIGEST_MISMATCH') || error.message.includes('DIGEST_MISMATCH');
}
