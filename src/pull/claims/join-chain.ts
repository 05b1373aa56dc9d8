import type { Entry } from './entry.ts';
import type { KeeperContext } from './keeper-context.ts';
import type { Seat } from './seat.ts';
import type { Choice } from './tree.ts';

/** All nodes of a rollout come within so long; who comes later is put at the end of a chain. */
const JOINING_MS = 2_000;

/**
 * Gives a node its place in the ring's order (Tree.placeInChain), where it comes with nothing, when the others do, and can
 * be sent to. Who is moved below it has hardly begun, too.
 * @returns its parent; undefined where it is seated as anywhere else
 */
export function joinChain(
  { tree }: Entry,
  { roster, complaints }: KeeperContext,
  seat: Seat,
  choice: Choice,
): Seat | undefined {
  const { nowMs } = choice;
  const { peerId } = seat;
  const isNew = ({ joinedAtMs }: Seat) => nowMs - joinedAtMs <= JOINING_MS;
  // It joins by this very claim.
  if (seat.joinedAtMs !== nowMs || !roster.isLive(peerId) || complaints.isDoubted(peerId, nowMs)) return undefined;
  const place = tree.placeInChain(seat, choice);
  if (place === undefined || (place.next !== undefined && !isNew(place.next))) return undefined;
  if (!tree.move(seat, place.parent)) return undefined;
  if (place.next !== undefined) seat.displace(place.next);
  return place.parent;
}
