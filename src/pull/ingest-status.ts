import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { Ingest, IngestState } from './ingest.ts';
import type { SwarmSource } from './swarm-source.ts';

/** One ingest, for the status page. */
export interface IngestStatus {
  readonly id: string;
  readonly digest: Digest;
  readonly state: IngestState;
  readonly sizeBytes: number | undefined;
  readonly written: number;
  /** Where its last bytes came from. */
  readonly source: SourceLabel;
  /** Peers that it reads from. */
  readonly parents: readonly PeerId[];
  readonly readers: number;
  /** Peers that read from it. */
  readonly children: number;
  /** Bytes a second taken in, lately. */
  readonly bytesPerSecond: number;
  readonly startedAtMs: number;
}

export function statusOf(ingest: Ingest, source: SwarmSource | undefined): IngestStatus {
  return {
    id: ingest.id,
    digest: ingest.digest,
    state: ingest.state,
    sizeBytes: ingest.sizeBytes,
    written: ingest.written,
    source: ingest.source,
    parents: source?.parent === undefined ? [] : [source.parent],
    readers: ingest.readerCount,
    children: ingest.children,
    bytesPerSecond: ingest.bytesPerSecond,
    startedAtMs: ingest.startedAtMs,
  };
}
