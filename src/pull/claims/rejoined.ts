import { Kademlia } from '../../routing/kademlia.ts';
import type { Member, PeerId } from '../../routing/member.ts';
import { KEEPERS, type Roster } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import { BoundedMap } from './bounded-map.ts';

/** By then holders have told what they hold to the keepers of the whole (announcer.ts: 5 to 10 s, and the call). */
const REJOINED_MS = 30_000;
const MAX_MEMBERS = 10_000;

/**
 * Members that were thought dead and are back in the same life: they were behind a partition, and kept their own index
 * there. Until holders have told the keepers of the whole cluster, those of the other side know what it fetched.
 */
export class Rejoined {
  readonly #roster: Roster;
  readonly #timers: Timers;
  /** Incarnations of those that died, as far as is known here. */
  readonly #died = new BoundedMap<PeerId, number>(MAX_MEMBERS);
  readonly #sinceMs = new BoundedMap<PeerId, number>(MAX_MEMBERS);
  readonly #ring = new Kademlia();
  readonly #unsubscribe: () => void;

  constructor(roster: Roster, timers: Timers) {
    this.#roster = roster;
    this.#timers = timers;
    this.#unsubscribe = roster.subscribe(({ joined, left }) => {
      for (const { member, leaving } of left) {
        if (!leaving) this.#died.set(member.peerId, member.incarnation);
        this.#sinceMs.delete(member.peerId);
      }
      for (const { peerId, incarnation } of joined) {
        if (this.#died.get(peerId) === incarnation) this.#sinceMs.set(peerId, timers.now());
        this.#died.delete(peerId);
      }
      this.#place();
    });
  }

  /** Who, among those that came back lately, were the nearest to a key: its keepers on their side. */
  keepers(key: string): Member[] {
    this.#forget();
    return this.#ring.closest(key, KEEPERS).flatMap((peerId) => this.#roster.get(peerId) ?? []);
  }

  stop(): void {
    this.#unsubscribe();
  }

  #forget(): void {
    const over = [...this.#sinceMs.entries()].filter(([, ms]) => this.#timers.now() - ms >= REJOINED_MS);
    for (const [peerId] of over) this.#sinceMs.delete(peerId);
    if (over.length > 0) this.#place();
  }

  #place(): void {
    this.#ring.replace([...this.#sinceMs.entries()].map(([peerId]) => peerId));
  }
}
