import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { BlobClaim } from './blob-claim.ts';
import type { Parent } from './claims/messages.ts';
import { type Leg, type Pull, saysMismatch } from './leg.ts';
import type { ParentStep } from './parent-step.ts';
import { ParentStream } from './parent-stream.ts';
import type { Swarm } from './swarm.ts';

/** Of those that one blob was read from: what a person would still read. */
const MAX_READ_FROM = 8;
/** What is answered sooner costs nothing. */
const AT_ONCE_MS = 100;

export interface ParentsListener {
  /** It is being asked, and may let us wait for as long as it waits itself. */
  onTry(stream: ParentStream): void;
  /** A path to the writer has changed. */
  onPath(): void;
}

/** The peers that one ingest reads from, one after another, and what became of them. */
export class Parents {
  /** Who vouched for what they sent. */
  readonly signers = new Set<PeerId>();
  /** Who gave something, in that order; the first few. */
  readonly readFrom = new Set<PeerId>();
  readonly #swarm: Swarm;
  readonly #digest: Digest;
  readonly #claim: BlobClaim;
  readonly #listener: ParentsListener;
  /** Nobody knew the size before it told one, and no other source has said the same since. */
  #sizeBy: PeerId | undefined;
  /** They told another size than the manifest, which may lie as well as they. */
  readonly #otherSizes = new Map<PeerId, WindlassError>();

  constructor(swarm: Swarm, digest: Digest, claim: BlobClaim, listener: ParentsListener) {
    this.#swarm = swarm;
    this.#digest = digest;
    this.#claim = claim;
    this.#listener = listener;
  }

  /**
   * The first that gives something; undefined if none does. Who lacked the blob a moment ago may have got it again,
   * and is asked when all others have nothing.
   * @param instead.of is read from now: it is not asked, and stays.
   * @param instead.signal bounds the search, and is the found stream's.
   * @throws as `left`; the signal's reason.
   */
  async firstOf(
    pull: Pull,
    parents: readonly Parent[],
    replaces: PeerId | undefined,
    instead?: { readonly of: PeerId; readonly signal: AbortSignal },
  ): Promise<(Leg & { readonly kind: 'parent' }) | undefined> {
    const { self, offenders } = this.#swarm;
    const lackedIt = parents.filter(({ peerId }) => offenders.lackedIt(peerId, this.#digest));
    for (const parent of [...parents.filter((one) => !lackedIt.includes(one)), ...lackedIt]) {
      if (parent.peerId === self || parent.peerId === instead?.of) continue;
      const fault = offenders.fault(parent.peerId);
      if (fault !== undefined) {
        this.#claim.failed.note(parent.peerId, fault);
        continue;
      }
      const { position, sizeBytes, sizeConfirmed } = pull;
      const { signal } = instead ?? pull;
      const onPath = () => this.#listener.onPath();
      const options = { position, sizeBytes, sizeConfirmed, replaces, signal, onPath };
      const startedMs = performance.now();
      const stream = new ParentStream(this.#swarm, parent, this.#digest, options);
      if (instead === undefined) this.#listener.onTry(stream);
      let first: ParentStep;
      try {
        first = await stream.next();
        // Who named it knows whether there is a better one; once it has sent something it may say so again.
        while (first.type === 'strained') first = await stream.next();
        // The search may be over while a piece was being checked, and with it the stream.
        signal.throwIfAborted();
      } catch (error) {
        stream.leave();
        throw error;
      }
      if (first.type !== 'left' && first.type !== 'moved') {
        this.saidSize(pull, stream.saidBytes, parent.peerId);
        if (this.readFrom.size < MAX_READ_FROM) this.readFrom.add(parent.peerId);
        return { kind: 'parent', stream, first };
      }
      stream.leave();
      // Of a parent that waited with us, only what came after its last word was lost.
      const lostMs = performance.now() - Math.max(startedMs, stream.lastHeardMs);
      this.#claim.lost(lostMs);
      if (first.type === 'left') this.left(stream, first);
      // Who says at once that it has nothing has not cost what was lost.
      if (lostMs >= AT_ONCE_MS && this.#claim.isHopeless) break;
    }
    return undefined;
  }

  /**
   * A source told the blob's size. Where it is what was expected, whoever told another has lied.
   * @param by a peer, whose word alone confirms nothing; undefined: upstream.
   */
  saidSize(pull: Pull, sizeBytes: number | undefined, by?: PeerId): void {
    if (sizeBytes === undefined) return;
    if (pull.sizeBytes === undefined && by !== undefined) {
      pull.sizeBytes = sizeBytes;
      this.#sizeBy = by;
      return;
    }
    pull.sizeBytes ??= sizeBytes;
    if (pull.sizeConfirmed || pull.sizeBytes !== sizeBytes || (by !== undefined && by === this.#sizeBy)) return;
    pull.sizeConfirmed = true;
    this.#sizeBy = undefined;
    for (const [peerId, error] of this.#otherSizes) {
      this.#claim.failed.note(peerId, 'wrong');
      this.#swarm.offenders.blame(peerId, 'wrong', this.#digest, error);
    }
    this.#otherSizes.clear();
  }

  /** @throws DIGEST_MISMATCH if the parent found the blob to be wrong, and we have some of it. */
  left({ parent }: ParentStream, { why, lied, otherSize, error }: ParentStep & { type: 'left' }): void {
    const { offenders } = this.#swarm;
    const { peerId } = parent;
    this.#claim.failed.note(peerId, why);
    if (otherSize) this.#otherSizes.set(peerId, error);
    else if (lied && (why === 'wrong' || why === 'missing')) offenders.blame(peerId, why, this.#digest, error);
    else offenders.leave(peerId, why, this.#digest, error);
    if (why !== 'failed' || !saysMismatch(error) || this.signers.size === 0) return;
    if (!this.signers.has(peerId)) offenders.saysWrong(peerId, this.#digest, error);
    throw new WindlassError('DIGEST_MISMATCH', `${peerId} found the bytes to be wrong`, { cause: error });
  }

  /** The digest did not hold: whoever vouched for the bytes is left out, or who alone said that these are all of them. */
  blameSigners(error: WindlassError): void {
    for (const signer of this.#sizeBy === undefined ? this.signers : [this.#sizeBy])
      this.#swarm.offenders.blame(signer, 'wrong', this.#digest, error);
  }
}
