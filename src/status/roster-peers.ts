import type { Roster } from '../routing/roster.ts';
import type { PeerStatus } from './agent-status.ts';

/** The members of the roster, this agent left out. */
export function rosterPeers(roster: Roster): PeerStatus[] {
  return roster
    .members()
    .filter(({ peerId }) => peerId !== roster.self.peerId)
    .map(({ nodeName, peerId, zone, dataAddress, leaving }) => ({
      nodeName,
      peerId,
      zone,
      dataAddress,
      state: leaving ? 'leaving' : 'live',
    }));
}
