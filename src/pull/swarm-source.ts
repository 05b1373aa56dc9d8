import { hasCode, WindlassError } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PeerId } from '../routing/member.ts';
import { sleep } from '../time/sleep.ts';
import type { BlobBody } from '../upstream/registry-client.ts';
import { BlobClaim } from './blob-claim.ts';
import type { BlobOpening, BlobSource } from './blob-source.ts';
import type { Claimed, Lease } from './claims/claims.ts';
import type { Parent } from './claims/messages.ts';
import { hasDigest, isUpstreams, type Leg, leavingLeg, type Pull, type SourceEnd, sizeOf } from './leg.ts';
import type { ParentStep, ParentStream } from './parent-stream.ts';
import { Parents } from './parents.ts';
import type { Swarm } from './swarm.ts';
import { UpstreamLegs } from './upstream-legs.ts';

/** Between claims that brought nothing. */
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 500;
/** A slow parent for which the keeper knows no other is not complained of again for so long. */
const SLOW_AGAIN_MS = 2_000;
/** Nor for so many times as long as was looked for another one, in which nothing was read. */
const LOOKED_SHARE = 4;
/** For the keeper's answer; opening the other one has a bound of its own. */
const ASKED_MS = 1_000;

export type SourceRole = 'none' | 'writer' | 'reader';

export interface SwarmSourceOptions {
  readonly digest: Digest;
  /** Would take the bytes in the keeper's answer: it may be a small blob. */
  readonly inline: boolean;
  /** Upstream is asked for a manifest: that it has none by that digest says nothing of a blob, nor the other way round. */
  readonly asManifest?: boolean;
  /** The keeper has answered; called at every answer. */
  readonly onClaimed?: () => void;
}

type Bytes = AsyncGenerator<Uint8Array, Leg | undefined, undefined>;

/**
 * One digest's bytes, for one ingest, from whoever the keeper names: upstream with a lease, or peers.
 *
 * ```
 *             ┌────────── claim ◀───────────────────────────────────────────────┐
 *             │           │   │ └ bytes ─▶ done                                │
 *             ▼     write ▼   ▼ read                                            │
 *   failed: rejects   upstream   parent ── broken, silent, wrong, full, cycle … ┤ at the same position
 *                       │  │       └ slow, strained: the new one is opened first ┤
 *                       │  └ lease lost ────────────────────────────────────────┘
 *                       └ upstream's error ─▶ rejects; the lease is kept for the ingest's next try, unless it is final
 * ```
 * One BlobBody spans all of it. When nothing in the swarm works, for as long as the budget lasts, upstream is asked
 * without leave: a pull fails only with upstream.
 */
export class SwarmSource implements BlobSource {
  readonly digest: Digest;
  /** Called when the path to the writer has changed. */
  readonly pathListeners = new Set<() => void>();
  /** Bytes handed on, by where they came from. */
  readonly received = { peer: 0, upstream: 0 };
  readonly #swarm: Swarm;
  readonly #upstream: UpstreamLegs;
  readonly #options: SwarmSourceOptions;
  readonly #claim: BlobClaim;
  readonly #parents: Parents;
  #label: SourceLabel = 'upstream';
  #role: SourceRole = 'none';
  #parent: ParentStream | undefined;
  #inherited = false;
  /** Others found the bytes to be wrong, and have blamed whom they must. */
  #toldWrong = false;

  constructor(swarm: Swarm, upstream: BlobSource, options: SwarmSourceOptions) {
    this.#swarm = swarm;
    this.#options = options;
    this.digest = options.digest;
    this.#claim = new BlobClaim(swarm, options.digest, options);
    this.#upstream = new UpstreamLegs(upstream, options.digest, this.#claim);
    this.#parents = new Parents(swarm, options.digest, this.#claim, {
      onTry: (stream) => this.#become('reader', stream),
      onPath: () => this.#pathChanged(),
    });
    swarm.proofs.begin(this.digest);
  }

  /** Bytes of an earlier run were here before: they may be wrong. */
  get inherited(): boolean {
    return this.#inherited;
  }

  /** Where the last bytes came from. */
  get label(): SourceLabel {
    return this.#label;
  }

  get role(): SourceRole {
    return this.#role;
  }

  get parent(): PeerId | undefined {
    return this.#parent?.parent.peerId;
  }

  get parentRole(): Parent['role'] | undefined {
    return this.#parent?.role;
  }

  /** All parents that it had, in that order; the first few. */
  get readFrom(): readonly PeerId[] {
    return [...this.#parents.readFrom];
  }

  /** From the writer down to our parent; empty for a writer. */
  get path(): readonly PeerId[] {
    return this.#parent?.path ?? [];
  }

  /** Bytes were sent to a child. */
  sent(bytes: number): void {
    this.#claim.sent(bytes);
  }

  /** All bytes are there, and are being hashed. */
  verifying(sizeBytes: number): void {
    this.#claim.verifying(sizeBytes);
  }

  async open(origin: RepositoryName, _digest: Digest, options: BlobOpening): Promise<BlobBody> {
    const name = await this.#swarm.sourceOf(origin);
    const source = this.#options.asManifest === true ? `${name} manifest` : name;
    if (!this.#claim.begun) {
      this.#inherited = options.offset > 0;
      this.#claim.resumes = this.#inherited && this.#swarm.resumesFirst(this.digest);
    }
    this.#claim.begin(source, this.#upstream.lastError);
    const { offset, sizeBytes } = options;
    const pull: Pull = { ...options, origin, source, position: offset, sizeBytes, sizeConfirmed: false };
    const leg = await this.#next(pull);
    const label = () => this.#label;
    return {
      sizeBytes: sizeOf(leg),
      offset,
      body: leavingLeg(this.#bytes(pull, leg), leg),
      // Pieces come in two buffers, in turn.
      get reused() {
        return label() === 'peer';
      },
    };
  }

  /**
   * The ingest has ended; to be called once.
   * @param bytes of a small blob that is held now.
   * @returns is upstream to blame, where the bytes were wrong?
   */
  ended({ state, error }: SourceEnd, sizeBytes: number | undefined, bytes?: Uint8Array): boolean {
    const mismatch = hasCode(error, 'DIGEST_MISMATCH');
    this.#swarm.proofs.end(this.digest, mismatch ? 'wrong' : state);
    const known = this.#inherited || this.#toldWrong || hasCode(error?.cause, 'PEER_FAILED');
    if (mismatch && !known) this.#parents.blameSigners(error);
    const upstreams = mismatch ? !known && this.received.peer === 0 : isUpstreams(error);
    if (state === 'committed') this.#claim.held(sizeBytes, bytes);
    else this.#claim.letGo(upstreams ? error : undefined);
    this.#role = 'none';
    return mismatch && upstreams;
  }

  async *#bytes(pull: Pull, first: Leg): AsyncGenerator<Uint8Array, void, undefined> {
    let leg: Leg | undefined = first;
    try {
      while (leg !== undefined) {
        if (leg.kind === 'upstream') leg = yield* this.#fromUpstream(pull, leg.body, leg.lease);
        else if (leg.kind === 'parent') leg = yield* this.#fromParent(pull, leg.stream, leg.first);
        else {
          yield* this.#took(pull, 'peer', 0, leg.bytes);
          leg = undefined;
        }
      }
    } finally {
      if (this.#role === 'reader') this.#become('none', undefined);
    }
  }

  /** What of a chunk is new. */
  *#took(pull: Pull, label: 'peer' | 'upstream', start: number, chunk: Uint8Array): Generator<Uint8Array> {
    const fresh = chunk.subarray(Math.min(chunk.length, Math.max(0, pull.position - start)));
    if (fresh.length === 0) return;
    pull.position += fresh.length;
    this.#label = label;
    this.received[label] += fresh.length;
    this.#swarm.metrics.ingestReceivedBytes.inc({ source: label }, fresh.length);
    this.#claim.wrote(pull.position);
    yield fresh;
  }

  async *#fromUpstream(pull: Pull, body: BlobBody, lease: Lease | undefined): Bytes {
    let at = body.offset;
    try {
      for await (const chunk of body.body) {
        yield* this.#took(pull, 'upstream', at, chunk);
        at += chunk.length;
      }
      return undefined;
    } catch (error) {
      pull.signal.throwIfAborted();
      if (lease?.lost.aborted !== true) throw this.#upstream.failed(error);
    }
    this.#swarm.logger.info({ digest: this.digest, position: pull.position }, 'another one writes: now a reader');
    return this.#next(pull);
  }

  async *#fromParent(pull: Pull, stream: ParentStream, first: ParentStep): Bytes {
    let step = first;
    let complainAtMs = 0;
    try {
      for (;;) {
        if (step.type === 'end') return undefined;
        if (step.type === 'bytes' || step.type === 'slow' || step.type === 'strained') {
          if (step.type === 'bytes') {
            this.#parents.signers.add(step.signer);
            yield* this.#took(pull, 'peer', step.start, step.bytes);
          }
          const complaint = step.type !== 'bytes' ? step.type : step.slow ? 'slow' : undefined;
          const askedMs = performance.now();
          if (complaint !== undefined && askedMs >= complainAtMs) {
            const better = await this.#insteadOf(pull, stream, complaint);
            if (better !== undefined) return better;
            const nowMs = performance.now();
            complainAtMs = nowMs + Math.max(SLOW_AGAIN_MS, LOOKED_SHARE * (nowMs - askedMs));
          }
        } else if (step.type === 'stalled' || step.type === 'unsure') {
          const other = await (step.type === 'stalled'
            ? this.#insteadOf(pull, stream, 'stalled')
            : this.#insteadOfUnsure(pull, stream));
          if (other !== undefined) return other;
        } else {
          stream.leave();
          if (step.type === 'left') {
            this.#claim.lost(stream.vainMs);
            this.#parents.left(stream, step);
          }
          return await this.#next(pull);
        }
        step = await stream.next();
      }
    } finally {
      stream.leave();
    }
  }

  /** Claims until something gives bytes. @throws upstream's error, by whoever it was asked; the signal's reason. */
  async #next(pull: Pull): Promise<Leg> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
      this.#become('none', undefined);
      const claimed = await this.#claim.ask(pull);
      this.#options.onClaimed?.();
      const leg = claimed === undefined ? await this.#fetch(pull, undefined) : await this.#follow(pull, claimed);
      if (leg !== undefined) return leg;
      await sleep(pauseMs, pull.signal);
      this.#claim.lost(pauseMs);
    }
  }

  /** @returns undefined if it led to nothing. */
  async #follow(pull: Pull, claimed: Claimed): Promise<Leg | undefined> {
    if (claimed.kind === 'write') return this.#fetch(pull, claimed.lease);
    if (claimed.kind === 'bytes') {
      if (hasDigest(claimed.bytes, this.digest)) return { kind: 'bytes', bytes: claimed.bytes };
      this.#claim.refuseInline();
      return undefined;
    }
    if (claimed.kind === 'read') return this.#read(pull, claimed);
    this.#toldWrong ||= hasCode(claimed.error, 'DIGEST_MISMATCH');
    throw claimed.error;
  }

  async #fetch(pull: Pull, lease: Lease | undefined): Promise<Leg | undefined> {
    this.#become('writer', undefined);
    const leg = await this.#upstream.open(pull, lease);
    this.#parents.saidSize(pull, leg?.body.sizeBytes);
    return leg;
  }

  async #read(
    pull: Pull,
    { parents, replaces, sizeBytes }: Claimed & { kind: 'read' },
    instead?: { readonly of: PeerId; readonly signal: AbortSignal },
  ): Promise<Leg | undefined> {
    const leg = await this.#parents.firstOf(pull, parents, replaces, instead);
    // What the keeper has heard of others as well.
    if (sizeBytes === pull.sizeBytes) this.#parents.saidSize(pull, sizeBytes);
    if (leg !== undefined) this.#become('reader', leg.stream);
    return leg;
  }

  /** Opened before the slow one is left; undefined if there is nothing better, or not soon: until then nothing is read. */
  async #insteadOf(pull: Pull, stream: ParentStream, why: 'slow' | 'strained' | 'stalled'): Promise<Leg | undefined> {
    const { peerId } = stream.parent;
    if (why !== 'stalled') this.#claim.failed.note(peerId, why);
    const look = new AbortController();
    const timer = setTimeout(() => look.abort(new Error('not soon')), ASKED_MS + this.#swarm.bounds.openMs);
    const signal = AbortSignal.any([pull.signal, look.signal]);
    let better: Leg | undefined;
    try {
      const claimed = await this.#claim.ask(pull, signal);
      if (claimed?.kind === 'read') better = await this.#read(pull, claimed, { of: peerId, signal });
      else if (claimed !== undefined && claimed.kind !== 'failed') {
        // Upstream has its own bounds: a right that is given back for want of time costs a request each time.
        clearTimeout(timer);
        better = await this.#beside(pull, claimed);
      }
    } catch (error) {
      pull.signal.throwIfAborted();
      if (!look.signal.aborted) throw error;
      this.#swarm.logger.debug({ digest: this.digest, peer: peerId, why }, 'no better parent within the bound');
    } finally {
      clearTimeout(timer);
    }
    if (better === undefined) this.#become('reader', stream);
    else if (why !== 'stalled') this.#swarm.offenders.leave(peerId, why, this.digest, undefined);
    return better;
  }

  /** Where upstream has nothing either, what there is goes on. */
  async #beside(pull: Pull, claimed: Claimed): Promise<Leg | undefined> {
    try {
      return await this.#follow(pull, claimed);
    } catch (error) {
      pull.signal.throwIfAborted();
      if (!(error instanceof WindlassError) || hasCode(error, 'DIGEST_MISMATCH')) throw error;
      this.#swarm.logger.info({ digest: this.digest, err: error }, 'upstream fails: the parent is read on');
      this.#claim.giveBack();
      return undefined;
    }
  }

  /** A relay signs for itself: it may have become the writer a moment ago, or hold it all. Undefined if so. */
  async #insteadOfUnsure(pull: Pull, stream: ParentStream): Promise<Leg | undefined> {
    const { peerId } = stream.parent;
    if (stream.path.length === 1) {
      // It says that it has this from nobody, and is blamed for it should the digest not hold. The keeper may hear of it later
      // than we: of who holds it within a second, of who writes without leave never.
      stream.promote('writer');
      return undefined;
    }
    const claimed = await this.#claim.ask(pull);
    if (claimed?.kind === 'read') {
      const role = claimed.parents.find((parent) => parent.peerId === peerId)?.role;
      if (role === 'writer' || role === 'holder') {
        stream.promote(role);
        return undefined;
      }
      const error = new WindlassError('PEER_NONSENSE', 'a relay vouches for bytes that it has from others');
      stream.leave();
      const lied = role === 'relay';
      this.#parents.left(stream, { type: 'left', why: lied ? 'wrong' : 'failed', lied, otherSize: false, error });
      return this.#next(pull);
    }
    stream.leave();
    return (claimed && (await this.#follow(pull, claimed))) ?? this.#next(pull);
  }

  #become(role: SourceRole, parent: ParentStream | undefined): void {
    if (this.#role === role && this.#parent === parent) return;
    this.#role = role;
    this.#parent = parent;
    this.#pathChanged();
  }

  #pathChanged(): void {
    for (const listener of this.pathListeners) listener();
  }
}
