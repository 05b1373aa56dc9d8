import { createHash } from 'node:crypto';
import { hasCode, WindlassError } from '../errors.ts';
import type { SourceLabel } from '../metrics/metrics.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { PeerId } from '../routing/member.ts';
import type { BlobBody } from '../upstream/registry-client.ts';
import type { BlobOpening, BlobSource } from './blob-source.ts';
import { leaveBody } from './body-copy.ts';
import type { Claimed, Lease } from './claims/claims.ts';
import type { Parent } from './claims/messages.ts';
import { FailedPeers } from './failed-peers.ts';
import { isFinal } from './origins.ts';
import { type ParentStep, ParentStream } from './parent-stream.ts';
import { sleep } from './sleep.ts';
import type { Swarm } from './swarm.ts';

/** Between claims that brought nothing, growing. */
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 500;
/** A slow parent for which the keeper knows no other is not complained of again for so long. */
const SLOW_AGAIN_MS = 2_000;

export type SourceRole = 'none' | 'writer' | 'reader';

/** How a blob's ingest ended; see IngestEnd. */
export interface SourceEnd {
  readonly state: 'committed' | 'passed' | 'failed';
  readonly error?: WindlassError;
}

export interface SwarmSourceOptions {
  readonly digest: Digest;
  /** Would take the bytes in the keeper's answer: it may be a small blob. */
  readonly inline: boolean;
}

interface Pull extends BlobOpening {
  readonly origin: RepositoryName;
  /** As claims name it. */
  readonly source: string;
  /** How far bytes were handed on. */
  position: number;
  sizeBytes: number | undefined;
}

/** Where the next bytes come from. */
type Leg =
  | { readonly kind: 'upstream'; readonly body: BlobBody; readonly lease: Lease | undefined }
  | { readonly kind: 'parent'; readonly stream: ParentStream; readonly first: ParentStep }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

type Bytes = AsyncGenerator<Uint8Array, Leg | undefined, undefined>;

/**
 * One digest's bytes, for one ingest, from whoever the keeper names: upstream with a lease, or peers.
 *
 * ```
 *             ┌────────── claim ◀───────────────────────────────────────────────┐
 *             │           │   │ └ bytes ─▶ done                                │
 *             ▼     write ▼   ▼ read                                            │
 *   failed: rejects   upstream   parent ── broken, silent, wrong, full, cycle … ┤ at the same position
 *                       │  │       └────── slow: the new one is opened first ───┤
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
  readonly #upstream: BlobSource;
  readonly #failed = new FailedPeers();
  /** Who vouched for what came from peers. */
  readonly #signers = new Set<PeerId>();
  #label: SourceLabel = 'upstream';
  #role: SourceRole = 'none';
  #parent: ParentStream | undefined;
  #lease: Lease | undefined;
  /** What was claimed last. */
  #source: string | undefined;
  /** What upstream said last. */
  #lastError: WindlassError | undefined;
  /** Bytes of an earlier run were here before; they may be wrong. */
  #inherited = false;
  /** Others found the bytes to be wrong, and have blamed whom they must. */
  #toldWrong = false;
  /** The bytes in the keeper's answer would do. */
  #inline: boolean;
  #sentBytes = 0;
  /** Time lost to parents that did not work, since bytes last came. */
  #lostMs = 0;

  constructor(swarm: Swarm, upstream: BlobSource, options: SwarmSourceOptions) {
    this.#swarm = swarm;
    this.#upstream = upstream;
    this.#inline = options.inline;
    this.digest = options.digest;
    swarm.proofs.begin(this.digest);
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

  /** From the writer down to our parent; empty for a writer. */
  get path(): readonly PeerId[] {
    return this.#parent?.path ?? [];
  }

  /** Bytes were sent to a child. */
  sent(bytes: number): void {
    this.#sentBytes += bytes;
    this.#lease?.sent(this.#sentBytes);
  }

  /** All bytes are there, and are being hashed. */
  verifying(sizeBytes: number): void {
    this.#lease?.progress('verifying', sizeBytes);
  }

  async open(origin: RepositoryName, _digest: Digest, options: BlobOpening): Promise<BlobBody> {
    const source = await this.#swarm.sourceOf(origin);
    if (this.#source === undefined) this.#inherited = options.offset > 0;
    else if (this.#source !== source) this.#letGo(this.#lastError);
    this.#source = source;
    this.#lostMs = 0;
    const { offset, sizeBytes } = options;
    const pull: Pull = { ...options, origin, source, position: offset, sizeBytes };
    const leg = await this.#next(pull);
    const label = () => this.#label;
    return {
      sizeBytes: sizeOf(leg),
      offset,
      body: this.#bytes(pull, leg),
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
    const { claims, proofs, offenders } = this.#swarm;
    proofs.end(this.digest, state !== 'failed');
    const mismatch = hasCode(error, 'DIGEST_MISMATCH');
    const known = this.#inherited || this.#toldWrong;
    if (mismatch && !known) {
      for (const signer of this.#signers) offenders.blame(signer, 'wrong', this.digest, error);
    }
    const upstreams = mismatch ? !known && this.received.peer === 0 : isUpstreams(error);
    if (state !== 'committed') this.#letGo(upstreams ? error : undefined);
    else if (this.#source !== undefined) {
      this.#lease = undefined;
      claims.held(this.#key, this.#source, {
        ...(sizeBytes === undefined ? {} : { sizeBytes }),
        ...(bytes === undefined ? {} : { bytes }),
      });
    }
    this.#role = 'none';
    return mismatch && upstreams;
  }

  get #key(): string {
    return this.#swarm.blobKey(this.digest);
  }

  /** Neither reads nor writes any more. @param error upstream's, if it is the reason. */
  #letGo(error: WindlassError | undefined): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (this.#source === undefined) return;
    if (lease === undefined) this.#swarm.claims.left(this.#key, this.#source);
    else if (error === undefined) lease.left();
    else lease.failed(error);
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
    this.#lostMs = 0;
    this.#swarm.metrics.ingestReceivedBytes.inc({ source: label }, fresh.length);
    this.#lease?.progress('writing', pull.position);
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
      if (lease?.lost.aborted !== true) throw this.#upstreamFailed(error);
    }
    this.#swarm.logger.info(
      { digest: this.digest, position: pull.position },
      'another one writes: going on as a reader',
    );
    return this.#next(pull);
  }

  async *#fromParent(pull: Pull, stream: ParentStream, first: ParentStep): Bytes {
    let step = first;
    let complainAtMs = 0;
    try {
      for (;;) {
        if (step.type === 'end') return undefined;
        if (step.type === 'bytes' || step.type === 'slow') {
          if (step.type === 'bytes') {
            this.#signers.add(step.signer);
            yield* this.#took(pull, 'peer', step.start, step.bytes);
          }
          if ((step.type === 'slow' || step.slow) && performance.now() >= complainAtMs) {
            const better = await this.#insteadOfSlow(pull, stream);
            if (better !== undefined) return better;
            complainAtMs = performance.now() + SLOW_AGAIN_MS;
          }
        } else if (step.type === 'unsure') {
          const other = await this.#insteadOfUnsure(pull, stream);
          if (other !== undefined) return other;
        } else {
          stream.leave();
          if (step.type === 'left') this.#left(stream, step);
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
      const claimed = await this.#claim(pull);
      const leg = claimed === undefined ? await this.#fetch(pull, undefined) : await this.#follow(pull, claimed);
      if (leg !== undefined) return leg;
      await sleep(pauseMs, pull.signal);
      this.#lostMs += pauseMs;
    }
  }

  /** @returns undefined where the swarm was given up. */
  async #claim(pull: Pull): Promise<Claimed | undefined> {
    const { claims, bounds, logger } = this.#swarm;
    if (this.#lostMs >= bounds.budgetMs) {
      logger.warn(
        { digest: this.digest, lostMs: Math.round(this.#lostMs) },
        'no peer works: asking upstream without leave',
      );
      return undefined;
    }
    try {
      const claimed = await claims.claim(
        {
          key: this.#key,
          source: pull.source,
          registry: pull.origin.registry,
          sizeBytes: pull.sizeBytes,
          prefix: pull.position,
          failed: this.#failed.list(),
          inline: this.#inline && pull.position === 0,
        },
        pull.signal,
      );
      this.#lease = claimed.kind === 'write' ? claimed.lease : undefined;
      return claimed;
    } catch (error) {
      pull.signal.throwIfAborted();
      logger.warn({ digest: this.digest, err: error }, 'claim failed: asking upstream without leave');
      return undefined;
    }
  }

  /** @returns undefined if it led to nothing. */
  async #follow(pull: Pull, claimed: Claimed): Promise<Leg | undefined> {
    if (claimed.kind === 'write') return this.#fetch(pull, claimed.lease);
    if (claimed.kind === 'bytes') {
      if (isOf(claimed.bytes, this.digest)) return { kind: 'bytes', bytes: claimed.bytes };
      this.#swarm.logger.warn({ digest: this.digest }, 'the keeper answered with wrong bytes');
      this.#inline = false;
      return undefined;
    }
    if (claimed.kind === 'read') return this.#firstOf(pull, claimed.parents, claimed.replaces);
    this.#toldWrong ||= hasCode(claimed.error, 'DIGEST_MISMATCH');
    throw claimed.error;
  }

  /** @returns undefined if the lease was lost meanwhile. */
  async #fetch(pull: Pull, lease: Lease | undefined): Promise<Leg | undefined> {
    this.#become('writer', undefined);
    lease?.progress('opening', pull.position);
    const signal = lease === undefined ? pull.signal : AbortSignal.any([pull.signal, lease.lost]);
    let body: BlobBody;
    try {
      body = await this.#upstream.open(pull.origin, this.digest, { offset: pull.position, signal });
    } catch (error) {
      pull.signal.throwIfAborted();
      if (lease?.lost.aborted === true) return undefined;
      throw this.#upstreamFailed(error);
    }
    const fault = this.#faultOf(body, pull);
    if (fault !== undefined) {
      await leaveBody(body);
      throw this.#upstreamFailed(fault);
    }
    pull.sizeBytes ??= body.sizeBytes;
    return { kind: 'upstream', body, lease };
  }

  #faultOf(body: BlobBody, pull: Pull): WindlassError | undefined {
    if (body.offset > pull.position) {
      return new WindlassError('UPSTREAM_NONSENSE', `begins at ${body.offset}, asked for ${pull.position}`);
    }
    // Of the first answer the ingest judges itself.
    if (pull.position === pull.offset || body.sizeBytes === undefined || pull.sizeBytes === undefined) return undefined;
    if (body.sizeBytes === pull.sizeBytes) return undefined;
    return new WindlassError(
      'DIGEST_MISMATCH',
      `upstream has ${body.sizeBytes} bytes where ${pull.sizeBytes} were expected`,
    );
  }

  /** The lease stays for the next try, unless the next try would bring the same. */
  #upstreamFailed(error: unknown): unknown {
    if (!(error instanceof WindlassError)) return error;
    this.#lastError = error;
    if (isFinal(error) || hasCode(error, 'UPSTREAM_RATE_LIMITED')) {
      this.#lease?.failed(error);
      this.#lease = undefined;
      this.#become('none', undefined);
    }
    return error;
  }

  /** The first parent that gives something. */
  async #firstOf(
    pull: Pull,
    parents: readonly Parent[],
    replaces: PeerId | undefined,
    except?: PeerId,
  ): Promise<Leg | undefined> {
    const { self, offenders, bounds } = this.#swarm;
    for (const parent of parents) {
      if (parent.peerId === self || parent.peerId === except) continue;
      if (offenders.isLeftOut(parent.peerId, this.digest)) {
        this.#failed.note(parent.peerId, 'wrong');
        continue;
      }
      const startedMs = performance.now();
      const stream = new ParentStream(this.#swarm, parent, this.digest, {
        position: pull.position,
        sizeBytes: pull.sizeBytes,
        replaces,
        signal: pull.signal,
        onPath: () => this.#pathChanged(),
      });
      if (except === undefined) this.#become('reader', stream);
      let step: ParentStep;
      try {
        step = await stream.next();
      } catch (error) {
        stream.leave();
        throw error;
      }
      if (step.type !== 'left' && step.type !== 'moved') {
        this.#become('reader', stream);
        pull.sizeBytes ??= stream.sizeBytes;
        return { kind: 'parent', stream, first: step };
      }
      stream.leave();
      // Of a parent that waited with us, only what came after its last word was lost.
      this.#lostMs += performance.now() - Math.max(startedMs, stream.lastHeardMs);
      if (step.type === 'left') this.#left(stream, step);
      if (this.#lostMs >= bounds.budgetMs) break;
    }
    return undefined;
  }

  /** @throws DIGEST_MISMATCH if the parent found the blob to be wrong, and we have some of it. */
  #left({ parent }: ParentStream, { why, lied, error }: ParentStep & { type: 'left' }): void {
    const { offenders } = this.#swarm;
    this.#failed.note(parent.peerId, why);
    if (lied && (why === 'wrong' || why === 'missing')) offenders.blame(parent.peerId, why, this.digest, error);
    else offenders.leave(parent.peerId, why, this.digest, error);
    if (why !== 'failed' || !saysMismatch(error) || this.#signers.size === 0) return;
    this.#toldWrong = true;
    throw new WindlassError('DIGEST_MISMATCH', `${parent.peerId} found the bytes to be wrong`, { cause: error });
  }

  /** Opened before the slow one is left; undefined if there is nothing better. */
  async #insteadOfSlow(pull: Pull, slow: ParentStream): Promise<Leg | undefined> {
    const { peerId } = slow.parent;
    this.#failed.note(peerId, 'slow');
    const claimed = await this.#claim(pull);
    if (claimed === undefined || claimed.kind === 'failed') return undefined;
    const better =
      claimed.kind === 'read'
        ? await this.#firstOf(pull, claimed.parents, claimed.replaces, peerId)
        : await this.#follow(pull, claimed);
    if (better !== undefined) this.#swarm.offenders.leave(peerId, 'slow', this.digest, undefined);
    return better;
  }

  /** A relay signs for itself: it may have become the writer a moment ago. Undefined if so. */
  async #insteadOfUnsure(pull: Pull, stream: ParentStream): Promise<Leg | undefined> {
    const { peerId } = stream.parent;
    const claimed = await this.#claim(pull);
    if (claimed?.kind === 'read') {
      const role = claimed.parents.find((parent) => parent.peerId === peerId)?.role;
      if (role === 'writer' || role === 'holder') {
        stream.promote(role);
        return undefined;
      }
      const error = new WindlassError('PEER_NONSENSE', 'a relay vouches for bytes that it has from others');
      stream.leave();
      this.#left(stream, { type: 'left', why: role === 'relay' ? 'wrong' : 'failed', lied: role === 'relay', error });
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

function sizeOf(leg: Leg): number | undefined {
  if (leg.kind === 'upstream') return leg.body.sizeBytes;
  return leg.kind === 'parent' ? leg.stream.sizeBytes : leg.bytes.length;
}

function isOf(bytes: Uint8Array, digest: Digest): boolean {
  return createHash(algorithmOf(digest)).update(bytes).digest('hex') === hexOf(digest);
}

/** Does it say something of the registry, and not of this node? */
function isUpstreams(error: WindlassError | undefined): error is WindlassError {
  return error !== undefined && !hasCode(error, 'STOPPING', 'STORE_UNUSABLE', 'READER_TOO_SLOW', 'DIGEST_MISMATCH');
}

/** What a parent's ingest failed with is told in the text, or as the cause. */
function saysMismatch(error: WindlassError): boolean {
  return hasCode(error.cause, 'DIGEST_MISMATCH') || error.message.includes('DIGEST_MISMATCH');
}
