import type { Member, PeerId } from './member.ts';

/** How many agents keep a key: one keeper, two deputies. */
export const KEEPERS = 3;

/**
 * The full list of members, this agent included: all agents have the same one as soon as news has travelled, so
 * all name the same keepers in one hop.
 */
export interface Roster {
  readonly self: Member;
  /** The live ones, self included, in no order. A member that is leaving is not among them. */
  members(): readonly Member[];
  /** A live member, or one that left or died within the last hour (its signatures are still good). */
  get(peerId: PeerId): Member | undefined;
  isLive(peerId: PeerId): boolean;
  /**
   * The `count` live members closest to `sha256(key)` by Kademlia's metric (XOR with `sha256(peer id)`), nearest
   * first: the keeper, then its deputies. Fewer where there are fewer.
   * @param key as in design.md: `blob:<digest>` or `tag:<registry>/<repository>:<tag>`.
   */
  keepers(key: string, count?: number): readonly Member[];
  /** Monotonic time in ms at which the set of live members last changed. */
  readonly changedAtMs: number;
  /** A call to it failed as it does when an agent is gone (`gone`: refused or reset), or it was silent. */
  suspect(peerId: PeerId, how: 'gone' | 'silent'): void;
  /** A call to it succeeded. */
  heard(peerId: PeerId): void;
  /** Called after the set of live members changed. @returns unsubscribe */
  subscribe(listener: (change: RosterChange) => void): () => void;
}

export interface RosterChange {
  /** New, or back under a new incarnation. */
  readonly joined: readonly Member[];
  /** `leaving`: in order. Else dead, as far as is known. */
  readonly left: readonly { readonly member: Member; readonly leaving: boolean }[];
}
