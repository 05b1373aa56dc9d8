import type { PeerId } from '../../routing/member.ts';
import { KEEPERS, type Roster } from '../../routing/roster.ts';

/**
 * Of those behind a key's keepers so many are asked where no keeper answers. On one side of a partition in halves 2%
 * have none among them.
 */
const BEYOND = 6;
/**
 * So many of the nearest may speak as keepers of a key: while news of members travels, views differ by a few; and who is
 * asked in the keepers' stead must be able to ask these, should it reach them.
 */
export const MAY_SPEAK = KEEPERS + BEYOND;

/** May this peer forward claims for a key, copy its grants, recall and revoke them? */
export function maySpeakFor(roster: Roster, key: string, peerId: PeerId): boolean {
  return roster.keepers(key, MAY_SPEAK).some((member) => member.peerId === peerId);
}

export function isKeeper(roster: Roster, key: string, peerId: PeerId): boolean {
  return roster.keepers(key, 1)[0]?.peerId === peerId;
}
