import type { PeerId } from '../../routing/member.ts';
import { KEEPERS, type Roster } from '../../routing/roster.ts';

/** While news of members travels, views differ by a few: so many of the nearest may speak as keepers of a key. */
const MAY_SPEAK = 2 * KEEPERS;

/** May this peer forward claims for a key, copy its grants, recall and revoke them? */
export function maySpeakFor(roster: Roster, key: string, peerId: PeerId): boolean {
  return roster.keepers(key, MAY_SPEAK).some((member) => member.peerId === peerId);
}

export function isKeeper(roster: Roster, key: string, peerId: PeerId): boolean {
  return roster.keepers(key, 1)[0]?.peerId === peerId;
}
