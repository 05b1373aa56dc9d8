import type { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Claimed, Lease } from './claims/claims.ts';
import { FailedPeers } from './failed-peers.ts';
import type { Pull } from './leg.ts';
import type { Swarm } from './swarm.ts';

/**
 * What one ingest says to the keeper of its digest: what it wants, who failed it, how far it is, how it ended. One
 * source (repository and credentials) at a time; one lease at most.
 */
export class BlobClaim {
  readonly failed = new FailedPeers();
  /** All that is here an earlier ingest left, and nothing was claimed by that yet. Over with the first answer. */
  resumes = false;
  readonly #swarm: Swarm;
  readonly digest: Digest;
  readonly #key: string;
  /** The bytes in the keeper's answer would do. */
  #inline: boolean;
  #lease: Lease | undefined;
  /** What was claimed last. */
  #source: string | undefined;
  /** Time lost to parents that did not work, and to keepers that did not answer, since bytes last came. */
  #lostMs = 0;
  /** With the right to write it was forgotten: once, until bytes come. A right that is taken back again and again is no way. */
  #forgotten = false;
  /** The last claim said so; one that comes when bytes have come does not. */
  #toldAlone = false;

  constructor(swarm: Swarm, digest: Digest, options: { readonly inline: boolean }) {
    this.#swarm = swarm;
    this.digest = digest;
    this.#key = swarm.blobKey(digest);
    this.#inline = options.inline;
  }

  get begun(): boolean {
    return this.#source !== undefined;
  }

  /** Enough was lost: upstream is asked, without leave if the keeper, told so, has nothing better. */
  get isHopeless(): boolean {
    return this.#lostMs >= this.#swarm.bounds.budgetMs;
  }

  /** From now on this source is claimed. @param lastError what upstream said of the one before. */
  begin(source: string, lastError: WindlassError | undefined): void {
    if (this.#source !== source) this.letGo(lastError);
    this.#source = source;
    this.#lostMs = 0;
    this.#forgotten = false;
  }

  /** @returns undefined where the swarm is given up. @throws the signal's reason. */
  async ask(pull: Pull, signal: AbortSignal = pull.signal): Promise<Claimed | undefined> {
    const { claims, logger } = this.#swarm;
    const digest = this.digest;
    const alone = this.isHopeless;
    if (alone && this.#toldAlone) {
      logger.warn({ digest, lostMs: Math.round(this.#lostMs) }, 'no peer works: asking upstream without leave');
      return undefined;
    }
    this.#toldAlone = alone;
    try {
      const claimed = await claims.claim(
        {
          key: this.#key,
          source: pull.source,
          registry: pull.origin.registry,
          sizeBytes: pull.sizeBytes,
          prefix: pull.position,
          failed: this.failed.list(),
          inline: this.#inline && pull.position === 0,
          alone,
          resumes: this.resumes,
          onSilence: (ms) => this.lost(ms),
        },
        signal,
      );
      this.resumes = false;
      this.#lease = claimed.kind === 'write' ? claimed.lease : undefined;
      // With the right to it nothing is lost any more; who loses that to another one reads, and has all its patience again.
      if (claimed.kind === 'write' && !this.#forgotten) {
        this.#lostMs = 0;
        this.#forgotten = true;
      }
      return claimed;
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ digest, err: error }, 'claim failed: asking upstream without leave');
      return undefined;
    }
  }

  /** The keeper's bytes were wrong. */
  refuseInline(): void {
    this.#swarm.logger.warn({ digest: this.digest }, 'the keeper answered with wrong bytes');
    this.#inline = false;
  }

  lost(ms: number): void {
    this.#lostMs += ms;
  }

  /** Bytes came, up to `position`. */
  wrote(position: number): void {
    this.#lostMs = 0;
    this.#forgotten = false;
    this.#lease?.progress('writing', position);
  }

  /** All bytes are there, and are being hashed. */
  verifying(sizeBytes: number): void {
    this.#lease?.progress('verifying', sizeBytes);
  }

  /** Bytes were sent to a child. */
  sent(bytes: number): void {
    this.#lease?.sent(bytes);
  }

  /** Upstream's answer is final. */
  failedWith(error: WindlassError): void {
    this.#lease?.failed(error);
    this.#lease = undefined;
  }

  /** Upstream had nothing now, and there is a parent: who comes next may write. */
  giveBack(): void {
    this.#lease?.left();
    this.#lease = undefined;
  }

  /** It is here, verified. */
  held(sizeBytes: number | undefined, bytes: Uint8Array | undefined): void {
    this.#lease = undefined;
    if (this.#source === undefined) return;
    this.#swarm.claims.held(this.#key, this.#source, {
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(bytes === undefined ? {} : { bytes }),
    });
  }

  /** Neither reads nor writes any more. @param error upstream's, if it is the reason. */
  letGo(error: WindlassError | undefined): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (this.#source === undefined) return;
    if (lease === undefined) this.#swarm.claims.left(this.#key, this.#source);
    else if (error === undefined) lease.left();
    else lease.failed(error);
  }
}
