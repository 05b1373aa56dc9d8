import { hasCode, WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { FailedPeer, Parent } from './claims/messages.ts';
import { ParentEvents } from './parent-events.ts';
import type { ParentStep } from './parent-step.ts';
import type { PeerStream } from './peer-streams.ts';
import { PIECE_BYTES, type Piece } from './piece.ts';
import { PieceCheck } from './piece-check.ts';
import { StalledParent } from './stalled-parent.ts';
import type { Swarm } from './swarm.ts';

/** Longer than any chain of a cluster: who reads from us is told the path as well, and a frame has its bounds. */
const MAX_HOPS = 4_096;

export interface ParentStreamOptions {
  /** From where on bytes are wanted. */
  readonly position: number;
  /** As the manifest, or an earlier source, says. */
  readonly sizeBytes: number | undefined;
  /** An earlier source said so. */
  readonly sizeConfirmed: boolean;
  readonly replaces: PeerId | undefined;
  readonly signal: AbortSignal;
  /** The path to the writer has changed. */
  readonly onPath: () => void;
}

/** One parent's bytes of one blob: every piece is checked before it is handed on. Nothing here rejects but the signal. */
export class ParentStream {
  readonly parent: Parent;
  readonly #swarm: Swarm;
  readonly #digest: Digest;
  readonly #options: ParentStreamOptions;
  readonly #abort = new AbortController();
  #role: Parent['role'];
  #stream: PeerStream | undefined;
  #events: ParentEvents | undefined;
  readonly #check: PieceCheck;
  #path: readonly PeerId[] = [];
  #sizeBytes: number | undefined;
  /** Came, but waits for `promote`. */
  #held: Piece | undefined;
  readonly #startedMs = performance.now();
  /** For how long it was waited for when the last piece came. */
  #waitedAtPieceMs = 0;
  /** Since when its word that it waits counts for nothing. */
  #vainSinceMs: number | undefined;
  readonly #stalled = new StalledParent(performance.now());

  constructor(swarm: Swarm, parent: Parent, digest: Digest, options: ParentStreamOptions) {
    this.parent = parent;
    this.#swarm = swarm;
    this.#digest = digest;
    this.#options = options;
    this.#role = parent.role;
    this.#sizeBytes = options.sizeBytes;
    this.#check = new PieceCheck(swarm, digest, this.parent.peerId, Math.floor(options.position / PIECE_BYTES));
  }

  /** As the keeper called it last. */
  get role(): Parent['role'] {
    return this.#role;
  }

  /** From the writer down to the parent. */
  get path(): readonly PeerId[] {
    return this.#path;
  }

  get sizeBytes(): number | undefined {
    return this.#sizeBytes;
  }

  /** As the parent itself said. */
  get saidBytes(): number | undefined {
    return this.#stream?.sizeBytes;
  }

  /** Monotonic. When it last said anything. */
  get lastHeardMs(): number {
    return this.#vainSinceMs ?? this.#events?.heardMs ?? this.#startedMs;
  }

  /** For how long it was waited with, and nothing came of it. */
  get vainMs(): number {
    return this.#vainSinceMs === undefined ? 0 : performance.now() - this.#vainSinceMs;
  }

  /** The keeper calls it writer, or holder, by now. */
  promote(role: Parent['role']): void {
    this.#role = role;
  }

  async next(): Promise<ParentStep> {
    const { signal } = this.#options;
    try {
      return await this.#step();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof WindlassError) return this.#broken(error);
      throw error;
    }
  }

  /** Lets go of it. Idempotent. */
  leave(): void {
    this.#abort.abort(new Error('left'));
    this.#events?.leave();
  }

  async #step(): Promise<ParentStep> {
    if (this.#held !== undefined) {
      const piece = this.#held;
      this.#held = undefined;
      return this.#take(piece);
    }
    if (this.#events === undefined) {
      const refusal = await this.#open();
      if (refusal !== undefined) return refusal;
    }
    const events = this.#events;
    for (;;) {
      const next = (await events?.next()) ?? { done: true, value: undefined };
      if (next === 'slow') return { type: 'slow' };
      if (next.done === true) return this.#end();
      const event = next.value;
      if (event.type === 'moved') return event;
      if (event.type === 'piece') {
        this.#waitedAtPieceMs = events?.waitedMs ?? 0;
        return this.#take(event.piece);
      }
      if (event.type === 'strained') {
        // It is a word like any other: it is not waited for as long as it says so.
        this.#checkPatience((events?.waitedMs ?? 0) - this.#waitedAtPieceMs);
        return event;
      }
      if (event.type === 'path') {
        const cycle = this.#follow(event.path);
        if (cycle !== undefined) return cycle;
      } else {
        events?.told(event.written);
        if (this.#stalled.waits(performance.now(), event.written)) return { type: 'stalled' };
      }
      this.#checkPatience((events?.waitedMs ?? 0) - this.#waitedAtPieceMs);
    }
  }

  /** Who waits itself is waited with, but not for ever; and who holds the whole has nothing to wait for. */
  #checkPatience(waitedMs: number): void {
    const { holderMs, waitingMs } = this.#swarm.bounds;
    const patienceMs = this.#role === 'holder' ? holderMs : waitingMs;
    if (waitedMs <= patienceMs) return;
    // The keeper may well name it again, as a writer that renews: upstream is next, whatever it said meanwhile.
    if (this.#role !== 'holder') this.#vainSinceMs = performance.now() - waitedMs;
    throw new WindlassError('PEER_SILENT', `it only said that it waits, for ${patienceMs} ms`);
  }

  get #position(): number {
    return Math.max(this.#options.position, this.#check.position);
  }

  async #open(): Promise<ParentStep | undefined> {
    const { position, replaces, signal } = this.#options;
    const { openMs, pieceMs, slowAfterMs } = this.#swarm.bounds;
    const bound = new AbortController();
    const timer = setTimeout(
      () => bound.abort(new WindlassError('PEER_SILENT', `no answer within ${openMs} ms`)),
      openMs,
    );
    const onBound = () => this.#abort.abort(bound.signal.reason);
    bound.signal.addEventListener('abort', onBound);
    let stream: PeerStream;
    try {
      stream = await this.#swarm.streams.open(this.parent, this.#digest, {
        offset: position,
        replaces,
        signal: AbortSignal.any([signal, this.#abort.signal]),
      });
    } catch (error) {
      bound.signal.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      bound.signal.removeEventListener('abort', onBound);
    }
    this.#stream = stream;
    this.#events = new ParentEvents(stream, {
      sizeBytes: this.#sizeBytes,
      pieceMs,
      slowAfterMs,
      // By the path as it is: a relay may have the right by now, and a writer may have lost it.
      isWriter: () => this.#path.length === 1,
      signal,
      receivedTo: () => this.#receivedTo,
    });
    const { sizeBytes } = stream;
    if (sizeBytes !== undefined && this.#sizeBytes !== undefined && sizeBytes !== this.#sizeBytes) {
      return this.#wrongSize(nonsense(`it has ${sizeBytes} bytes where ${this.#sizeBytes} were expected`));
    }
    this.#sizeBytes ??= sizeBytes;
    return this.#follow(stream.path);
  }

  /** To the byte, where the stream knows it. */
  get #receivedTo(): number {
    const received = this.#stream?.receivedBytes;
    if (received === undefined) return this.#position;
    const from = Math.floor(this.#options.position / PIECE_BYTES) * PIECE_BYTES;
    return Math.max(this.#position, from + received);
  }

  #follow(path: readonly PeerId[]): ParentStep | undefined {
    if (path.length > MAX_HOPS) {
      return this.#left('failed', new WindlassError('PEER_FAILED', `a path of ${path.length} agents`));
    }
    this.#path = path;
    if (path.includes(this.#swarm.self)) {
      return this.#left('cycle', new WindlassError('PEER_FAILED', 'we are above it'));
    }
    this.#options.onPath();
    return undefined;
  }

  async #take(piece: Piece): Promise<ParentStep> {
    const { bytes, proof, index } = piece;
    const start = index * PIECE_BYTES;
    const fault = await this.#check.faultOf(piece, this.#sizeBytes);
    if (fault?.kind === 'wrong') return this.#lied(fault.error);
    if (fault?.kind === 'size') return this.#wrongSize(fault.error);
    if (fault?.kind === 'shunned') return this.#left('failed', fault.error);
    if (proof.signer === this.parent.peerId && this.#role === 'relay') {
      this.#held = piece;
      return { type: 'unsure' };
    }
    this.#check.took(piece);
    const { position } = this.#options;
    this.#swarm.proofs.remember(this.#digest, index, proof, start >= position);
    this.#events?.told(piece.written);
    this.#stalled.gave(performance.now());
    const slow = this.#events?.isSlow(start + bytes.length) ?? false;
    // The first may begin before what was asked for.
    const skip = Math.max(0, position - start);
    return {
      type: 'bytes',
      start: start + skip,
      bytes: skip === 0 ? bytes : bytes.subarray(skip),
      signer: proof.signer,
      slow,
    };
  }

  #end(): ParentStep {
    if (this.#sizeBytes === undefined || this.#position >= this.#sizeBytes) return { type: 'end' };
    return this.#wrongSize(nonsense(`it ended after ${this.#position} of ${this.#sizeBytes} bytes`));
  }

  #broken(error: WindlassError): ParentStep {
    if (hasCode(error, 'PEER_NONSENSE')) return this.#lied(error);
    // A relay may have lost what it had a moment ago; a holder says that it has it.
    if (hasCode(error, 'PEER_MISSING')) {
      return { type: 'left', why: 'missing', lied: this.#role === 'holder', otherSize: false, error };
    }
    if (hasCode(error, 'PEER_SILENT')) return this.#left('silent', error);
    const { cause } = error;
    if (hasCode(error, 'PEER_BUSY') || hasCode(cause, 'PEER_BUSY')) return this.#left('full', error);
    if (hasCode(error, 'PEER_FAILED')) return this.#left('failed', error);
    return this.#left('broken', error);
  }

  #left(why: FailedPeer['why'], error: WindlassError): ParentStep {
    return { type: 'left', why, lied: false, otherSize: false, error };
  }

  #lied(error: WindlassError): ParentStep {
    return { type: 'left', why: 'wrong', lied: true, otherSize: false, error };
  }

  /** A lie only where the size is not the manifest's word alone: whoever pushes an image could blame our peers. */
  #wrongSize(error: WindlassError): ParentStep {
    if (this.#options.sizeConfirmed || this.saidBytes === this.#options.sizeBytes) return this.#lied(error);
    return { type: 'left', why: 'failed', lied: false, otherSize: true, error };
  }
}

function nonsense(what: string): WindlassError {
  return new WindlassError('PEER_NONSENSE', what);
}
