import { hasCode, WindlassError } from '../errors.ts';
import type { PeerId } from '../routing/member.ts';
import type { BlobClaim } from './blob-claim.ts';
import type { Claimed } from './claims/claims.ts';
import type { Leg, Pull } from './leg.ts';
import type { ParentStream } from './parent-stream.ts';
import type { Parents } from './parents.ts';
import type { Swarm } from './swarm.ts';

/** A slow parent for which the keeper knows no other is not complained of again for so long. */
const SLOW_AGAIN_MS = 2_000;
/** Nor for so many times as long as was looked for another one, in which nothing was read. */
const LOOKED_SHARE = 4;
/** For the keeper's answer; opening the other one has a bound of its own. */
const ASKED_MS = 1_000;

/** What the source does of it. */
export interface Searching {
  readonly swarm: Swarm;
  readonly claim: BlobClaim;
  readonly parents: Parents;
  /** Opens one of the named parents. */
  read(claimed: Claimed & { kind: 'read' }, instead: { of: PeerId; signal: AbortSignal }): Promise<Leg | undefined>;
  /** Whatever the keeper's answer leads to; undefined: to nothing. */
  follow(claimed: Claimed): Promise<Leg | undefined>;
  /** Claims until something gives bytes. */
  next(): Promise<Leg>;
  /** The present parent is read on. */
  readsOn(): void;
}

/**
 * Whether there is something better than a parent that is there: it is left when another was found, so that not a
 * byte is lost, nor a pull that has no other way.
 */
export class ParentSearch {
  readonly #pull: Pull;
  readonly #stream: ParentStream;
  readonly #source: Searching;
  #complainAtMs = 0;

  constructor(pull: Pull, stream: ParentStream, source: Searching) {
    this.#pull = pull;
    this.#stream = stream;
    this.#source = source;
  }

  /** @returns what is read instead; undefined if there is nothing better, or it was asked for a moment ago. */
  async insteadOfSlow(why: 'slow' | 'strained'): Promise<Leg | undefined> {
    const askedMs = performance.now();
    if (askedMs < this.#complainAtMs) return undefined;
    const better = await this.insteadOf(why);
    const nowMs = performance.now();
    this.#complainAtMs = nowMs + Math.max(SLOW_AGAIN_MS, LOOKED_SHARE * (nowMs - askedMs));
    return better;
  }

  /** Opened before the slow one is left; undefined if there is nothing better, or not soon: until then nothing is read. */
  async insteadOf(why: 'slow' | 'strained' | 'stalled'): Promise<Leg | undefined> {
    const { swarm, claim } = this.#source;
    const pull = this.#pull;
    const { peerId } = this.#stream.parent;
    if (why !== 'stalled') claim.failed.note(peerId, why);
    const look = new AbortController();
    const timer = setTimeout(() => look.abort(new Error('not soon')), ASKED_MS + swarm.bounds.openMs);
    const signal = AbortSignal.any([pull.signal, look.signal]);
    let better: Leg | undefined;
    try {
      const claimed = await claim.ask(pull, signal);
      if (claimed?.kind === 'read') better = await this.#source.read(claimed, { of: peerId, signal });
      else if (claimed !== undefined && claimed.kind !== 'failed') {
        // Upstream has its own bounds: a right that is given back for want of time costs a request each time.
        clearTimeout(timer);
        better = await this.#beside(claimed);
      }
    } catch (error) {
      pull.signal.throwIfAborted();
      if (!look.signal.aborted) throw error;
      swarm.logger.debug({ digest: claim.digest, peer: peerId, why }, 'no better parent within the bound');
    } finally {
      clearTimeout(timer);
    }
    if (better === undefined) this.#source.readsOn();
    else if (why !== 'stalled') swarm.offenders.leave(peerId, why, claim.digest, undefined);
    return better;
  }

  /** A relay signs for itself: it may have become the writer a moment ago, or hold it all. Undefined if so. */
  async insteadOfUnsure(): Promise<Leg | undefined> {
    const { claim, parents } = this.#source;
    const stream = this.#stream;
    const { peerId } = stream.parent;
    if (stream.path.length === 1) {
      // It says that it has this from nobody, and is blamed for it should the digest not hold. The keeper may hear of it later
      // than we: of who holds it within a second, of who writes without leave never.
      stream.promote('writer');
      return undefined;
    }
    const claimed = await claim.ask(this.#pull);
    if (claimed?.kind === 'read') {
      const role = claimed.parents.find((parent) => parent.peerId === peerId)?.role;
      if (role === 'writer' || role === 'holder') {
        stream.promote(role);
        return undefined;
      }
      const error = new WindlassError('PEER_NONSENSE', 'a relay vouches for bytes that it has from others');
      stream.leave();
      const lied = role === 'relay';
      parents.left(stream, { type: 'left', why: lied ? 'wrong' : 'failed', lied, otherSize: false, error });
      return this.#source.next();
    }
    stream.leave();
    return (claimed && (await this.#source.follow(claimed))) ?? this.#source.next();
  }

  /** Where upstream has nothing either, what there is goes on. */
  async #beside(claimed: Claimed): Promise<Leg | undefined> {
    const { swarm, claim } = this.#source;
    try {
      return await this.#source.follow(claimed);
    } catch (error) {
      this.#pull.signal.throwIfAborted();
      if (!(error instanceof WindlassError) || hasCode(error, 'DIGEST_MISMATCH')) throw error;
      swarm.logger.info({ digest: claim.digest, err: error }, 'upstream fails: the parent is read on');
      claim.giveBack();
      return undefined;
    }
  }
}
