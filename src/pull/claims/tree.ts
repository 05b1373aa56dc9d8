import type { PeerId } from '../../routing/member.ts';
import { Seat } from './seat.ts';

/** More than a cluster has; what comes after it is not seated, and reads from whom it is told all the same. */
const MAX_SEATS = 10_000;

export interface Choice {
  readonly fanOut: number;
  readonly nowMs: number;
  /** May this peer be named as a parent to the one who asks? */
  readonly usable: (peerId: PeerId) => boolean;
  /** Far behind the others: its catching up is not to cost a seat at the front. */
  readonly late: boolean;
}

/**
 * Who reads from whom, of one key. Roots need no parent: the writer (and its rival), and who holds the whole.
 *
 * ```
 *        writer W (root)            holder H (root)        P (detached: a child lost its connection to it, or it was
 *        ├─ B ─┬─ D                 └─ F                   └─ E   evicted, or the writer it was is another now)
 *        │     └─ ·  free seat
 *        └─ C                       a seat is free where a chain of parents leads up to a root
 * ```
 * Children stay where they are until they come themselves: the tree says what streams there are, as far as is known.
 * Nobody is ever seated below itself, so there is no cycle. A detached node and all below it are nobody's parents
 * until it has a parent again.
 */
export class Tree {
  readonly #seats = new Map<PeerId, Seat>();

  get size(): number {
    return this.#seats.size;
  }

  seats(): Iterable<Seat> {
    return this.#seats.values();
  }

  get(peerId: PeerId): Seat | undefined {
    return this.#seats.get(peerId);
  }

  /** The node's seat, made where it has none yet. A new incarnation of it has none of the old one's children. */
  seat(peerId: PeerId, incarnation: number, zone: string): Seat {
    let seat = this.#seats.get(peerId);
    if (seat !== undefined && seat.incarnation < incarnation) {
      this.remove(peerId);
      seat = undefined;
    }
    if (seat === undefined) {
      seat = new Seat(peerId, incarnation, zone);
      if (this.#seats.size < MAX_SEATS) this.#seats.set(peerId, seat);
    }
    seat.zone = zone;
    return seat;
  }

  /** Its children are without a parent, and remember whose they were. */
  remove(peerId: PeerId): void {
    const seat = this.#seats.get(peerId);
    if (seat === undefined) return;
    this.#seats.delete(peerId);
    seat.attach(undefined);
    // Not of a copy: who is detached may give its seat back to another one, which is a child by that.
    for (const child of seat.children) child.attach(undefined);
  }

  /** Off its parent, and no root any more; what is below it stays below it. */
  detach(seat: Seat): void {
    seat.root = undefined;
    seat.attach(undefined);
  }

  makeRoot(seat: Seat, root: 'writer' | 'holder'): void {
    seat.forgetParent();
    seat.root = root;
  }

  /** Is the way up from it free, and does it end at a root? */
  isRooted(seat: Seat): boolean {
    return seat.top().root !== undefined;
  }

  /** @returns false, and nothing changes, where it would sit below itself. */
  move(seat: Seat, parent: Seat): boolean {
    if (parent.isBelow(seat)) return false;
    seat.root = undefined;
    seat.attach(parent);
    return true;
  }

  /**
   * The best free seat for a node: in its own zone the shallowest, under holders first; where nobody of its zone can
   * be read from, it imports: a seat more than the fan-out; else under whoever has the fewest children, those that are
   * to have none (full, slow) last.
   */
  choose(seat: Seat, choice: Choice): Seat | undefined {
    const order = this.#breadthFirst(seat).filter((other) => choice.usable(other.peerId));
    const isOpen = (other: Seat) => !other.isClosed(choice.nowMs);
    const inZone = order.filter((other) => other.zone === seat.zone);
    if (choice.late) {
      const leaf = inZone.find((other) => other.children.size === 0 && other.isFree(choice));
      if (leaf !== undefined) return leaf;
    }
    return (
      inZone.find((other) => other.isFree(choice)) ??
      order.find((other) => other.zone !== seat.zone && other.mayExport(choice)) ??
      leastLoaded(inZone.filter(isOpen)) ??
      leastLoaded(order.filter(isOpen)) ??
      leastLoaded(order)
    );
  }

  /**
   * Where a node belongs in a chain of its zone below the writer. All chains have one order, that of a ring which begins at
   * the writer, so that a node sends whatever it sends to the same one, of all blobs: where all links are full, each that gets
   * from two, or sends to two, holds up the others of those. Whose uplink is strained is at the end; who was slow in a tree is
   * not for that, as not all keepers know of it, and one blob of which the order is another holds up all.
   *
   * ```
   *   ring A B C D E;  writer C:  C ─▶ D ─▶ E ─▶ A ─▶ B
   *   E comes last:    C ─▶ D ─▶ A ─▶ B   ⇒   D ─▶ E ─▶ A: A is moved, and keeps what it has
   * ```
   * @returns undefined where it is no chain. `next` reads from `parent`, and is to read from the node.
   */
  placeInChain(
    seat: Seat,
    { nowMs, usable }: Choice,
  ): { readonly parent: Seat; readonly next: Seat | undefined } | undefined {
    const roots = [...this.#seats.values()].filter(({ root }) => root !== undefined);
    const [writer] = roots;
    if (writer?.root !== 'writer' || roots.length > 1 || writer.zone !== seat.zone) return undefined;
    const isBehind = (a: Seat, b: Seat) => {
      const [first, second] = [rankOf(a), rankOf(b)];
      return first === second ? a.peerId > b.peerId : first > second;
    };
    const rankOf = (one: Seat) => (one.isStrained(nowMs) ? 2 : one.peerId > writer.peerId ? 0 : 1);
    for (let parent = writer; ; ) {
      const [next, ...others] = [...parent.children].filter((one) => one !== seat && one.zone === seat.zone);
      if (others.length > 0) return undefined;
      if (next === undefined || isBehind(next, seat)) {
        return usable(parent.peerId) && !parent.isFull(nowMs) ? { parent, next } : undefined;
      }
      parent = next;
    }
  }

  /** All that lead to a root and are not below (or are) `asking`: holders first, those of its zone first. */
  #breadthFirst(asking: Seat): Seat[] {
    const rank = (seat: Seat) => (seat.zone === asking.zone ? 0 : 2) + (seat.root === 'holder' ? 0 : 1);
    const order = [...this.#seats.values()].filter((seat) => seat.root !== undefined && seat !== asking);
    order.sort((a, b) => rank(a) - rank(b));
    for (let i = 0; i < order.length; i += 1) {
      for (const child of order[i]?.children ?? []) if (child !== asking) order.push(child);
    }
    return order;
  }
}

/** Of those with the fewest children the deepest, so that who is above loses nothing. @param order by depth */
function leastLoaded(order: readonly Seat[]): Seat | undefined {
  const least = order.reduce((fewest, { children }) => Math.min(fewest, children.size), Number.POSITIVE_INFINITY);
  return order.findLast(({ children }) => children.size === least);
}
