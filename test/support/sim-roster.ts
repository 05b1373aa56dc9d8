import { createHash } from 'node:crypto';
import type { Member, PeerId } from '../../src/routing/member.ts';
import { KEEPERS, type Roster, type RosterChange } from '../../src/routing/roster.ts';
import type { Timers } from '../../src/time/timers.ts';

/** sha256 of keys and peer ids, for all rosters of a process. */
const positions = new Map<string, Buffer>();

function positionOf(text: string): Buffer {
  const known = positions.get(text) ?? createHash('sha256').update(text).digest();
  positions.set(text, known);
  return known;
}

/** No caller asks for more: the keepers, those behind them, and who asks. */
const MOST = 4 * KEEPERS;

/** Of lists of members that many rosters share: who is nearest to a key. */
const nearest = new WeakMap<readonly Member[], Map<string, readonly Member[]>>();

function nearestOf(members: readonly Member[], key: string): readonly Member[] {
  const known = nearest.get(members) ?? new Map<string, readonly Member[]>();
  nearest.set(members, known);
  let found = known.get(key);
  if (found === undefined) {
    const at = positionOf(key);
    const order = [...members].sort((a, b) => isNearer(at, positionOf(a.peerId), positionOf(b.peerId)));
    found = order.slice(0, MOST);
    known.set(key, found);
  }
  return found;
}

function isNearer(key: Buffer, a: Buffer, b: Buffer): number {
  for (let i = 0; i < key.length; i += 1) {
    const of = (position: Buffer) => (position[i] ?? 0) ^ (key[i] ?? 0);
    if (of(a) !== of(b)) return of(a) - of(b);
  }
  return 0;
}

/** As MemoryRoster, but cheap to set up, and it tells whom a call failed at. */
export class SimRoster implements Roster {
  readonly #timers: Timers;
  readonly #selfId: PeerId;
  readonly #known = new Map<PeerId, Member>();
  #live = new Map<PeerId, Member>();
  #members: readonly Member[] = [];
  readonly #listeners = new Set<(change: RosterChange) => void>();
  readonly #onSuspect: (peerId: PeerId) => void;
  changedAtMs: number;

  constructor(
    self: Member,
    members: readonly Member[],
    options: { readonly timers: Timers; readonly onSuspect: (peerId: PeerId) => void },
  ) {
    this.#timers = options.timers;
    this.#onSuspect = options.onSuspect;
    this.#selfId = self.peerId;
    this.changedAtMs = this.#timers.now();
    this.#place(members);
  }

  get self(): Member {
    const self = this.#known.get(this.#selfId);
    if (self === undefined) throw new Error('a roster without self');
    return self;
  }

  /** @param leaving who is no more among them has left in order. */
  set(members: readonly Member[], leaving = false): void {
    const before = this.#live;
    this.#place(members);
    const isNew = (a: Map<PeerId, Member>) => (member: Member) =>
      a.get(member.peerId)?.incarnation !== member.incarnation;
    const left = [...before.values()].filter(isNew(this.#live)).map((member) => ({ member, leaving }));
    const joined = [...this.#live.values()].filter(isNew(before));
    if (left.length === 0 && joined.length === 0) return;
    this.changedAtMs = this.#timers.now();
    for (const listener of [...this.#listeners]) listener({ joined, left });
  }

  members(): readonly Member[] {
    return [...this.#live.values()];
  }

  get(peerId: PeerId): Member | undefined {
    return this.#known.get(peerId);
  }

  isLive(peerId: PeerId): boolean {
    return this.#live.has(peerId);
  }

  keepers(key: string, count = KEEPERS): readonly Member[] {
    if (count > MOST) throw new Error(`the simulation knows the ${MOST} nearest alone`);
    return nearestOf(this.#members, key).slice(0, count);
  }

  suspect(peerId: PeerId): void {
    this.#onSuspect(peerId);
  }

  heard(): void {}

  subscribe(listener: (change: RosterChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #place(members: readonly Member[]): void {
    this.#live = new Map(members.map((member) => [member.peerId, member]));
    for (const member of members) this.#known.set(member.peerId, member);
    this.#members = members;
  }
}
