import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PeerId } from '../routing/member.ts';
import type { Parent } from './claims/messages.ts';
import type { Ingest, IngestState } from './ingest.ts';
import type { SwarmSource } from './swarm-source.ts';

/** One ingest, for the status page. */
export interface IngestStatus {
  readonly id: string;
  /** As logs have it: the same for all that one image consists of. */
  readonly pull: string;
  /** Who asked for it first. */
  readonly origin: RepositoryName;
  readonly digest: Digest;
  readonly state: IngestState;
  readonly sizeBytes: number | undefined;
  readonly written: number;
  /** Where its last bytes came from. */
  readonly source: SourceLabel;
  /** Peers that it reads from. */
  readonly parents: readonly PeerId[];
  /** What the parent is to the blob; undefined without one. */
  readonly parentRole: Parent['role'] | undefined;
  /** From the cluster's writer, or a holder, down to the parent, as far as it is known. */
  readonly path: readonly PeerId[];
  readonly readers: number;
  /** Peers that read from it. */
  readonly children: number;
  /** Bytes a second taken in, lately. */
  readonly bytesPerSecond: number;
  readonly startedAtMs: number;
}

export function statusOf(ingest: Ingest, source: SwarmSource | undefined, pull: string): IngestStatus {
  return {
    id: ingest.id,
    pull,
    origin: ingest.origin,
    digest: ingest.digest,
    state: ingest.state,
    sizeBytes: ingest.sizeBytes,
    written: ingest.written,
    source: ingest.source,
    parents: source?.parent === undefined ? [] : [source.parent],
    parentRole: source?.parentRole,
    path: source?.path ?? [],
    readers: ingest.readerCount,
    children: ingest.children,
    bytesPerSecond: ingest.bytesPerSecond,
    startedAtMs: ingest.startedAtMs,
  };
}
