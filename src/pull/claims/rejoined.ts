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
  #ringIsOld = false;
  readonly #unsubscribe: () => void;

  constructor(roster: Roster, timers: Timers) {
    this.#roster = roster;
    this.#timers = timers;
    this.#unsubscribe = roster.subscribe(({ joined, left }) => {
      for (const { member, leaving } of left) {
        if (!leaving) this.#died.set(member.peerId, member.incarnation);
        this.forget(member.peerId);
      }
      for (const { peerId, incarnation } of joined) {
        if (this.#died.get(peerId) === incarnation) {
          this.#sinceMs.set(peerId, timers.now());
          this.#ringIsOld = true;
        }
        this.#died.delete(peerId);
      }
    });
  }

  /** Who, among those that came back lately, were the nearest to a key: its keepers on their side. */
  keepers(key: string): Member[] {
    for (const [peerId, ms] of this.#sinceMs.entries()) {
      // In the order of their coming.
      if (this.#timers.now() - ms < REJOINED_MS) break;
      this.forget(peerId);
    }
    if (this.#ringIsOld) this.#ring.replace([...this.#sinceMs.entries()].map(([peerId]) => peerId));
    this.#ringIsOld = false;
    return this.#ring
      .closest(key, KEEPERS)
      .flatMap((peerId) => (this.#roster.isLive(peerId) ? (this.#roster.get(peerId) ?? []) : []));
  }

  /** It is not to be asked. */
  forget(peerId: PeerId): void {
    if (this.#sinceMs.delete(peerId)) this.#ringIsOld = true;
  }

  stop(): void {
    this.#unsubscribe();
  }
}
