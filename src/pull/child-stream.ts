import { WindlassError } from '../errors.ts';
import type { PeerId } from '../routing/member.ts';
import type { BlobReader } from './blob-reader.ts';
import type { Ingest } from './ingest.ts';
import type { PeerEvent } from './peer-streams.ts';
import { PIECE_BYTES } from './piece.ts';
import type { SharedPieces } from './shared-pieces.ts';
import type { Swarm } from './swarm.ts';
import type { SwarmSource } from './swarm-source.ts';

/** A child that is told nothing for longer takes its parent for dead. */
const WAITING_MS = 500;

/** A blob opened for another agent. */
export interface OpenedForPeer {
  readonly reader: BlobReader;
  /** Where it is still on its way in. */
  readonly ingest: Ingest | undefined;
  readonly source: SwarmSource | undefined;
}

export interface ChildStreamOptions {
  /** The first piece. */
  readonly index: number;
  readonly to: PeerId;
  readonly pieces: SharedPieces;
  readonly signal: AbortSignal;
  /** Called with the bytes of each piece that went out. */
  readonly onSent: (bytes: number) => void;
  /** It is over; called once. */
  readonly onEnd: () => void;
}

/** What one child is sent of one blob: pieces in order, as they are there, and news while it waits for them. */
export class ChildStream implements AsyncIterable<PeerEvent> {
  readonly to: PeerId;
  readonly #swarm: Swarm;
  readonly #opened: OpenedForPeer;
  readonly #options: ChildStreamOptions;
  /** Wakes what waits for the next piece. */
  #nudge = new AbortController();
  #moved = false;
  #strained = false;
  #position: number;
  /** The child knows us as writer, or holder: it believes what we vouched for then. */
  #sawUsVouch = false;
  #closed = false;
  #told: readonly PeerId[];
  readonly #onAbort = () => this.#close();

  constructor(swarm: Swarm, opened: OpenedForPeer, options: ChildStreamOptions) {
    this.to = options.to;
    this.#swarm = swarm;
    this.#opened = opened;
    this.#options = options;
    this.#position = options.index * PIECE_BYTES;
    this.#told = this.path;
    this.#sawUsVouch = this.#mayVouch;
    // The server may leave before it asks for the first event.
    options.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (opened.source !== undefined) opened.source.pathListeners.add(this.#onPath);
  }

  /** From the writer down to this node. */
  get path(): readonly PeerId[] {
    const { ingest, source } = this.#opened;
    // What is verified comes from nobody any more.
    const above = ingest === undefined || ingest.verified ? [] : (source?.path ?? []);
    return [...above, this.#swarm.self];
  }

  /** What it is sent of; undefined where that is here already. */
  get ingest(): Ingest | undefined {
    const { ingest } = this.#opened;
    return ingest?.verified === true ? undefined : ingest;
  }

  get fromWriter(): boolean {
    return this.#opened.source?.role === 'writer';
  }

  /** How far it was sent, by whole pieces. */
  get position(): number {
    return this.#position;
  }

  /** It may find a better parent. */
  strain(): void {
    this.#strained = true;
    this.#nudge.abort();
  }

  /** Its seat is another's now. */
  move(): void {
    this.#moved = true;
    this.#nudge.abort();
  }

  [Symbol.asyncIterator](): AsyncIterator<PeerEvent> {
    const events = this.#events();
    return {
      next: () => events.next(),
      return: async () => {
        this.#close();
        this.#nudge.abort();
        return events.return(undefined);
      },
    };
  }

  async *#events(): AsyncGenerator<PeerEvent, undefined, undefined> {
    const { reader, ingest, source } = this.#opened;
    const { digest } = reader;
    try {
      for (let { index } = this.#options; ; index += 1) {
        const start = index * PIECE_BYTES;
        for (;;) {
          if (this.#closed) return undefined;
          if (this.#moved) {
            yield { type: 'moved' };
            return undefined;
          }
          if (this.#strained) {
            this.#strained = false;
            yield { type: 'strained' };
          }
          if (this.path.join() !== this.#told.join()) {
            this.#told = this.path;
            yield { type: 'path', path: this.#told };
          }
          const ready = await this.#wait(start);
          if (ready === false) return undefined;
          if (ready) break;
          if (!this.#moved && !this.#strained) yield { type: 'waiting', written: this.#written };
        }
        const length = Math.min(PIECE_BYTES, reader.available - start);
        const piece = await this.#options.pieces.take(ingest, index, length, (target) => this.#read(target, start));
        try {
          const { bytes } = piece;
          const proof = await this.#swarm.proofs.of(digest, index, bytes, { vouch: this.#mayVouch });
          // A child that lags has wrong bytes too, unless they were an earlier run's, and it got nothing on our word.
          if (ingest?.wrong !== undefined && (source?.inherited !== true || this.#sawUsVouch)) throw ingest.wrong;
          if (proof === undefined || (proof.signer === this.#swarm.self && !this.#sawUsVouch))
            throw new WindlassError('PEER_BUSY', `nobody vouches for what is here of piece ${index}`);
          yield { type: 'piece', piece: { index, bytes, proof, written: this.#written } };
        } finally {
          piece.release();
        }
        source?.sent(length);
        this.#position = start + length;
        this.#options.onSent(length);
      }
    } finally {
      this.#close();
    }
  }

  /** A relay passes on what others vouch for; who writes, or holds all of it verified, vouches itself. */
  get #mayVouch(): boolean {
    const { ingest, source } = this.#opened;
    const may = ingest === undefined || ingest.verified || source === undefined || source.role === 'writer';
    this.#sawUsVouch ||= may;
    return may;
  }

  get #written(): number {
    const { ingest, reader } = this.#opened;
    return ingest?.written ?? reader.available;
  }

  readonly #onPath = () => this.#nudge.abort();

  /** @returns undefined if there is something to tell first. */
  async #wait(position: number): Promise<boolean | undefined> {
    const { signal } = this.#options;
    // It may have come while the last event was on its way.
    if (this.#moved || this.#strained) return undefined;
    if (this.#nudge.signal.aborted) this.#nudge = new AbortController();
    const nudge = this.#nudge;
    const timer = setTimeout(() => nudge.abort(), WAITING_MS);
    try {
      return await this.#opened.reader.wait(position, AbortSignal.any([signal, nudge.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (nudge.signal.aborted && error === nudge.signal.reason) return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #read(target: Uint8Array, position: number): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      filled += await this.#opened.reader.read(target.subarray(filled), position + filled);
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#opened.source?.pathListeners.delete(this.#onPath);
    this.#opened.reader.close();
    this.#options.onEnd();
  }
}
