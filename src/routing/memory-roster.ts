import type { Timers } from '../time/timers.ts';
import { Kademlia } from './kademlia.ts';
import type { Member, PeerId } from './member.ts';
import { KEEPERS, type Roster, type RosterChange } from './roster.ts';

/** A roster that is told its members: for tests and simulations. */
export class MemoryRoster implements Roster {
  readonly #timers: Timers;
  readonly #selfId: PeerId;
  readonly #known = new Map<PeerId, Member>();
  readonly #live = new Map<PeerId, Member>();
  readonly #ring = new Kademlia();
  readonly #listeners = new Set<(change: RosterChange) => void>();
  /** What was suspected, for tests to look at. */
  readonly suspected: { readonly peerId: PeerId; readonly how: 'gone' | 'silent' }[] = [];
  changedAtMs: number;

  constructor(self: Member, others: readonly Member[], options: { readonly timers: Timers }) {
    this.#timers = options.timers;
    this.#selfId = self.peerId;
    this.changedAtMs = this.#timers.now();
    this.#place([self, ...others]);
  }

  get self(): Member {
    const self = this.#known.get(this.#selfId);
    if (self === undefined) throw new Error('a roster without self');
    return self;
  }

  /** The live members from now on. Self stays, unless it is among them with `leaving`. */
  set(members: readonly Member[]): void {
    const before = new Map(this.#live);
    const others = members.some(({ peerId }) => peerId === this.#selfId) ? members : [this.self, ...members];
    this.#place(others);
    const left = [...before.values()]
      .filter(({ peerId, incarnation }) => this.#live.get(peerId)?.incarnation !== incarnation)
      .map((member) => ({ member, leaving: this.#known.get(member.peerId)?.leaving ?? false }));
    const joined = [...this.#live.values()].filter(
      ({ peerId, incarnation }) => before.get(peerId)?.incarnation !== incarnation,
    );
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
    return this.#ring.closest(key, count).flatMap((peerId) => this.#live.get(peerId) ?? []);
  }

  suspect(peerId: PeerId, how: 'gone' | 'silent'): void {
    this.suspected.push({ peerId, how });
  }

  heard(): void {}

  subscribe(listener: (change: RosterChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #place(members: readonly Member[]): void {
    this.#live.clear();
    for (const member of members) {
      this.#known.set(member.peerId, member);
      if (!member.leaving) this.#live.set(member.peerId, member);
    }
    this.#ring.replace(this.#live.keys());
  }
}
