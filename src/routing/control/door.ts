import type { MultiaddrConnection, StreamMessageEvent } from '@libp2p/interface';
import { LRUCache } from 'lru-cache';
import type { Timers } from '../../time/timers.ts';
import type { PeerId } from '../member.ts';
import { Opening } from './opening.ts';
import type { RefusalReason, Refusals } from './refusals.ts';

/** Connections in all, whatever the number of nodes. */
export const MAX_CONNECTIONS = 30;
/** Above so many the newest ones are let go again once they have said hello. */
export const ENOUGH_CONNECTIONS = 26;
/** A peer that just left is not dialled again by libp2p's own parts (its tags "keep alive" do). */
const PARTED_MS = 10_000;
/** Two agents that dial each other do so within this time. */
const CROSSING_MS = 10_000;

/**
 * How a dial ended where libp2p's own error does not say it. stranger: it does not know the secret. refused: it closed
 * when it had seen our proof.
 */
export type DialVerdict = 'self' | 'stranger' | 'refused' | 'busy' | 'known';

export interface DialNote {
  readonly verdict: DialVerdict;
  readonly peerId: PeerId;
}

interface Knock {
  /** member: proven. self: this agent. A reason: refused, for it, if it ends now. */
  verdict: 'member' | 'self' | RefusalReason;
  why?: string;
  peer?: PeerId;
}

interface Inside {
  readonly peerId: PeerId;
  readonly outgoing: boolean;
  readonly atMs: number;
}

export interface DoorOptions {
  readonly self: PeerId;
  readonly refusals: Refusals;
  readonly timers: Timers;
  /** Connections that are inside, after each change. */
  readonly changed: (count: number) => void;
}

/**
 * Who knocks, who is in, and who may be dialled. Each knock is followed until its connection closes, so that those
 * which never came as far as a proof (another protocol, silence, a port scan) are counted as well.
 */
export class Door {
  readonly #options: DoorOptions;
  readonly #knocks = new WeakMap<object, Knock>();
  readonly #inside = new Map<MultiaddrConnection, Inside>();
  readonly #notes = new LRUCache<string, DialNote>({ max: 1_000 });
  readonly #parted: LRUCache<PeerId, true>;
  #closed = false;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#parted = new LRUCache({ max: 1_000, ttl: PARTED_MS });
  }

  /** Of those that are inside, the ones that this agent dialled. */
  get outgoing(): number {
    let count = 0;
    for (const { outgoing } of this.#inside.values()) if (outgoing) count += 1;
    return count;
  }

  /** Connections that are proven and not yet closed. */
  get count(): number {
    return this.#inside.size;
  }

  get isFull(): boolean {
    return this.#inside.size >= MAX_CONNECTIONS;
  }

  /**
   * An incoming connection, before anything is known of it. Until it says what no member would, it may be one that is
   * too busy to say more, or gave up.
   */
  knock(connection: MultiaddrConnection): void {
    const knock: Knock = { verdict: 'unfinished' };
    this.#knocks.set(connection, knock);
    const address = connection.remoteAddr.toString();
    connection.addEventListener('close', () => {
      const { verdict, why, peer } = knock;
      if (verdict === 'member' || verdict === 'self' || this.#closed) return;
      this.#options.refusals.count(verdict, { address, ...(why && { why }), ...(peer && { peer }) });
    });
    const opening = new Opening();
    const listen = ({ data }: StreamMessageEvent) => {
      const heard = opening.hear(data.subarray());
      if (heard === 'begun') return;
      connection.removeEventListener('message', listen);
      if (heard === 'other') this.judge(connection, 'stranger');
    };
    connection.addEventListener('message', listen);
  }

  /** How far a knock has come; the last word counts. */
  judge(connection: object, verdict: Knock['verdict'], details: Pick<Knock, 'why' | 'peer'> = {}): void {
    const knock = this.#knocks.get(connection);
    if (knock !== undefined) Object.assign(knock, details, { verdict });
  }

  /** What a dial to that address found out. */
  note(address: string, note: DialNote): void {
    this.#notes.set(address, note);
  }

  takeNote(address: string): DialNote | undefined {
    const note = this.#notes.get(address);
    this.#notes.delete(address);
    return note;
  }

  isInside(peerId: PeerId): boolean {
    return this.#find(peerId) !== undefined;
  }

  /**
   * One that this agent dialled. Where that peer dialled it meanwhile, both keep the one of the smaller peer id, whichever
   * came first at either: if each kept the one that it saw first, they might end with none.
   * @returns false if it has a connection to that peer, or no room.
   */
  enterOutgoing(connection: MultiaddrConnection, peerId: PeerId): boolean {
    const isOpen = connection.status === 'open';
    const [existing, inside] = this.#find(peerId) ?? [];
    if (existing !== undefined && inside !== undefined) {
      const keepsIt = inside.outgoing || !this.#isYoung(inside) || peerId < this.#options.self;
      if (keepsIt || !isOpen) {
        this.note(connection.remoteAddr.toString(), { verdict: 'known', peerId });
        return false;
      }
      this.#replace(existing);
    }
    return isOpen && this.#enter(connection, peerId, true);
  }

  /**
   * One that another dialled, which it would not do if it knew of a connection: so an old one is dead. A young one is
   * that of two agents that dial each other at once, see `enterOutgoing`.
   */
  enterIncoming(connection: MultiaddrConnection, peerId: PeerId): boolean {
    if (connection.status !== 'open') return false;
    const [existing, inside] = this.#find(peerId) ?? [];
    if (existing !== undefined && inside !== undefined) {
      if (inside.outgoing && this.#isYoung(inside) && this.#options.self < peerId) return false;
      this.#replace(existing);
    }
    return this.#enter(connection, peerId, false);
  }

  #isYoung({ atMs }: Inside): boolean {
    return this.#options.timers.now() - atMs < CROSSING_MS;
  }

  /** It may close later than its successor is in, and must not be found meanwhile. */
  #replace(connection: MultiaddrConnection): void {
    this.#inside.delete(connection);
    connection.abort(new Error('replaced by another connection of the same peer'));
  }

  #enter(connection: MultiaddrConnection, peerId: PeerId, outgoing: boolean): boolean {
    if (this.isFull) return false;
    this.#inside.set(connection, { peerId, outgoing, atMs: this.#options.timers.now() });
    connection.addEventListener('close', () => {
      this.#inside.delete(connection);
      this.#parted.set(peerId, true);
      this.#options.changed(this.#inside.size);
    });
    this.#options.changed(this.#inside.size);
    return true;
  }

  #find(peerId: PeerId): [MultiaddrConnection, Inside] | undefined {
    for (const entry of this.#inside) if (entry[1].peerId === peerId) return entry;
    return undefined;
  }

  /** May libp2p's own parts (kad-dht's queries, its "keep alive") dial that peer? */
  mayDial(peerId: PeerId): boolean {
    return this.#inside.size < ENOUGH_CONNECTIONS && !this.#parted.has(peerId);
  }

  /** What closes from now on is this agent's own doing. */
  close(): void {
    this.#closed = true;
  }
}
