import type { ErrorCode } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PeerId } from '../routing/member.ts';
import type { Ingest, IngestEnd } from './ingest.ts';
import type { IngestTimes } from './ingest-phases.ts';
import type { SwarmSource } from './swarm-source.ts';

/** At some 600 bytes each. */
const MAX_ENTRIES = 500;

/** What is remembered of an ingest, for the status page. */
export interface EndedIngest {
  /** As logs have it: the same for all that one image consists of. */
  readonly pull: string;
  readonly origin: RepositoryName;
  readonly digest: Digest;
  /** Written, whether or not that is all of it. */
  readonly writtenBytes: number;
  readonly state: 'committed' | 'passed' | 'failed';
  /** Why it failed. */
  readonly code: ErrorCode | undefined;
  /** Where its last bytes came from. */
  readonly source: SourceLabel;
  /** Peers that it was read from, in that order; the first few. */
  readonly parents: readonly PeerId[];
  readonly times: IngestTimes;
  /** Monotonic. */
  readonly endedAtMs: number;
}

export interface NumberedIngest extends EndedIngest {
  /** From 1 on, in the order in which they ended. */
  readonly sequence: number;
}

/** The ingests that ended last, the oldest first; a bounded number. */
export class RecentIngests {
  readonly #entries: NumberedIngest[] = [];
  #sequence = 0;

  add(ended: EndedIngest): void {
    this.#sequence += 1;
    this.#entries.push({ ...ended, sequence: this.#sequence });
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift();
  }

  /** Those numbered higher, as far as they are remembered. */
  since(sequence: number): readonly NumberedIngest[] {
    const fresh = this.#sequence - sequence;
    return fresh <= 0 ? [] : this.#entries.slice(-fresh);
  }
}

/** What there is to remember, but for what it belonged to. */
export function endedOf(
  ended: IngestEnd,
  ingest: Ingest,
  source: SwarmSource | undefined,
): Omit<EndedIngest, 'pull' | 'origin'> {
  return {
    digest: ingest.digest,
    writtenBytes: ingest.written,
    state: ended.state,
    code: ended.state === 'failed' ? ended.error.code : undefined,
    source: ingest.source,
    parents: source?.readFrom ?? [],
    times: ingest.phases.times(),
    endedAtMs: performance.now(),
  };
}
