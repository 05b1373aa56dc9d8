import type { WindlassError } from '../../errors.ts';
import type { FailedPeer, Parent } from './messages.ts';

export interface ClaimRequest {
  /** `blob:<digest>` or `tag:…`, see messages.ts. */
  readonly key: string;
  readonly source: string;
  /** The registry of the source, whose rate is learnt. */
  readonly registry: string;
  readonly sizeBytes: number | undefined;
  /** What is already here, from 0 on. */
  readonly prefix: number;
  /** That is what an earlier ingest left, which this process puts forward for the first time. */
  readonly resumes?: boolean;
  /** Peers that failed during this ingest. */
  readonly failed: readonly FailedPeer[];
  readonly inline: boolean;
  readonly maxAgeMs?: number;
  /** Everybody failed it for so long that it asks upstream without leave, if this claim leads to nothing either. */
  readonly alone?: boolean;
  /** Told how long keepers let us wait in vain, ms: it is lost as time is that goes to silent parents. */
  readonly onSilence?: (ms: number) => void;
}

export type Claimed =
  | { readonly kind: 'write'; readonly lease: Lease }
  | {
      readonly kind: 'read';
      readonly parents: readonly Parent[];
      readonly sizeBytes: number | undefined;
      readonly replaces: string | undefined;
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly ageMs: number }
  | {
      readonly kind: 'failed';
      readonly error: WindlassError;
      readonly stale: { readonly bytes: Uint8Array; readonly ageMs: number } | undefined;
    };

/** The right to fetch from upstream. Kept alive by itself until `end`. */
export interface Lease {
  /** Aborted (with PEER_BUSY) when another one writes by now: its holder becomes a reader. */
  readonly lost: AbortSignal;
  /** Carried by the next renewal. Cheap: call it at every write. */
  progress(phase: 'opening' | 'writing' | 'verifying', prefix: number): void;
  /** So many bytes more were sent to a child. */
  sent(bytes: number): void;
  /** Upstream's answer ends the right for this source. Told to the keeper at once. Idempotent, as the next. */
  failed(error: WindlassError): void;
  /** It is given up with nothing to tell of upstream (nobody wants it here any more, or this agent stops). */
  left(): void;
}

/**
 * The cluster's one upstream writer of a key, and whom everybody else reads from. One round trip to the key's
 * keeper; a function call where this agent is alone or the keeper itself.
 */
export interface Claims {
  /**
   * Asks the keeper; the deputies where it does not answer; whoever is nearest behind those and answers; and grants
   * itself where nobody does, within 14 s. But for as long as a keeper says that somebody writes and nobody can be read
   * from, it waits: until the signal, so that a slow upstream does not become many requests. Idempotent: asked again
   * while a lease is held, it answers with that lease. A reader that got nothing for 10 s, though its parent says that
   * it waits, asks again with the same `failed`: where the writer has stalled, it becomes its rival.
   * @throws the signal's reason alone.
   */
  claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed>;
  /**
   * It is here, verified (`bytes` of what is small, or of a tag): ends our lease if there is one, tells the keeper
   * at once when others may wait for it, else with the next report.
   */
  held(
    key: string,
    source: string,
    held: { readonly sizeBytes?: number; readonly bytes?: Uint8Array; readonly ageMs?: number },
  ): void;
  /** We read it no more, and do not hold it. */
  left(key: string, source: string): void;
}
