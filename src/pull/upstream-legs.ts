import { hasCode, WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobBody } from '../upstream/registry-client.ts';
import type { BlobClaim } from './blob-claim.ts';
import type { BlobSource } from './blob-source.ts';
import { leaveBody } from './body-copy.ts';
import type { Lease } from './claims/claims.ts';
import { faultOf, type Leg, type Pull } from './leg.ts';
import { isFinal } from './origins.ts';

/** Upstream, as one ingest's source while it has the lease, or where the swarm was given up. */
export class UpstreamLegs {
  readonly #upstream: BlobSource;
  readonly #digest: Digest;
  readonly #claim: BlobClaim;
  #lastError: WindlassError | undefined;

  constructor(upstream: BlobSource, digest: Digest, claim: BlobClaim) {
    this.#upstream = upstream;
    this.#digest = digest;
    this.#claim = claim;
  }

  /** What upstream said last. */
  get lastError(): WindlassError | undefined {
    return this.#lastError;
  }

  /** @returns undefined if the lease was lost meanwhile. @throws upstream's error, the signal's reason. */
  async open(pull: Pull, lease: Lease | undefined): Promise<(Leg & { kind: 'upstream' }) | undefined> {
    lease?.progress('opening', pull.position);
    const signal = lease === undefined ? pull.signal : AbortSignal.any([pull.signal, lease.lost]);
    let body: BlobBody;
    try {
      body = await this.#upstream.open(pull.origin, this.#digest, { offset: pull.position, signal });
    } catch (error) {
      pull.signal.throwIfAborted();
      if (lease?.lost.aborted === true) return undefined;
      throw this.failed(error);
    }
    const fault = faultOf(body, pull);
    if (fault === undefined) return { kind: 'upstream', body, lease };
    await leaveBody(body);
    throw this.failed(fault);
  }

  /** The lease stays for the next try, unless the next try would bring the same. @returns the error */
  failed(error: unknown): unknown {
    if (!(error instanceof WindlassError)) return error;
    this.#lastError = error;
    if (isFinal(error) || hasCode(error, 'UPSTREAM_RATE_LIMITED')) this.#claim.failedWith(error);
    return error;
  }
}
