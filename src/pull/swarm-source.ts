// Over 300 lines: one state machine, from the first claim to the last byte.

import { hasCode } from '../errors.ts';
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
import { ParentSearch } from './parent-search.ts';
import type { ParentStep } from './parent-step.ts';
import type { ParentStream } from './parent-stream.ts';
import { Parents } from './parents.ts';
import type { Swarm } from './swarm.ts';
import { UpstreamLegs } from './upstream-legs.ts';

/** Between claims that brought nothing. */
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 500;

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
    const search = new ParentSearch(pull, stream, {
      swarm: this.#swarm,
      claim: this.#claim,
      parents: this.#parents,
      read: (claimed, instead) => this.#read(pull, claimed, instead),
      follow: (claimed) => this.#follow(pull, claimed),
      next: () => this.#next(pull),
      readsOn: () => this.#become('reader', stream),
    });
    try {
      for (;;) {
        if (step.type === 'end') return undefined;
        if (step.type === 'bytes' || step.type === 'slow' || step.type === 'strained') {
          if (step.type === 'bytes') {
            this.#parents.signers.add(step.signer);
            yield* this.#took(pull, 'peer', step.start, step.bytes);
          }
          const complaint = step.type !== 'bytes' ? step.type : step.slow ? 'slow' : undefined;
          const better = complaint && (await search.insteadOfSlow(complaint));
          if (better !== undefined) return better;
        } else if (step.type === 'stalled' || step.type === 'unsure') {
          const other = await (step.type === 'stalled' ? search.insteadOf('stalled') : search.insteadOfUnsure());
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
