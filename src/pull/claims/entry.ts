import type { PeerId } from '../../routing/member.ts';
import { Failures } from './failures.ts';
import { type Grant, Grants } from './grants.ts';
import { Tree } from './tree.ts';

/** A reader that was not heard of for so long has gone without a word. */
const SEAT_MS = 15 * 60_000;

/** What a keeper, or a deputy, knows of one key. What is left of it with nobody writing or reading is nothing. */
export class Entry {
  readonly key: string;
  readonly grants = new Grants();
  readonly tree = new Tree();
  readonly failures = new Failures();
  sizeBytes: number | undefined;
  /** When the deputies were last asked what they know of it; and that call, while it runs. */
  recalledAtMs = Number.NEGATIVE_INFINITY;
  recalling: Promise<void> | undefined;
  /** When the deputies were last told of it for a renewal's sake alone. */
  copiedAtMs = Number.NEGATIVE_INFINITY;

  constructor(key: string) {
    this.key = key;
  }

  /** A tag has no bytes to stream, only an answer. */
  get isTag(): boolean {
    return !this.key.startsWith('blob:');
  }

  /** The grant is over; so is its holder's place as a root, unless another grant or the whole blob is there. */
  end(grant: Grant, settled: boolean, how?: { readonly byCopy: boolean }): void {
    this.grants.end(grant, settled, how);
    this.#unroot(grant);
  }

  expire(nowMs: number): Grant[] {
    const over = this.grants.expire(nowMs);
    for (const grant of over) this.#unroot(grant);
    return over;
  }

  /** A new incarnation of the node: the old one's grants and seat are void. @returns whether a grant ended. */
  renewed(peerId: PeerId, incarnation: number): boolean {
    const seat = this.tree.get(peerId);
    if (seat !== undefined && seat.incarnation < incarnation) this.tree.remove(peerId);
    return this.grants.voidBefore(peerId, incarnation);
  }

  /** It died, or left: its children look for others, and whoever claims next may write. */
  gone(peerId: PeerId, incarnation: number): boolean {
    if ((this.tree.get(peerId)?.incarnation ?? incarnation) <= incarnation) this.tree.remove(peerId);
    const grants = [this.grants.writer, this.grants.rival].filter(
      (grant) => grant?.peerId === peerId && grant.incarnation <= incarnation,
    );
    // Not settled: it may be alive behind a broken network.
    for (const grant of grants) if (grant !== undefined) this.end(grant, false);
    return grants.length > 0;
  }

  /** Forgets holders without children (the index knows them), but for those that are full, and readers that are gone. */
  sweep(nowMs: number, isLive: (peerId: PeerId) => boolean): void {
    for (const seat of [...this.tree.seats()]) {
      const idleHolder = seat.root === 'holder' && seat.children.size === 0 && !seat.isClosed(nowMs);
      if (idleHolder || nowMs - seat.heardAtMs > SEAT_MS || !isLive(seat.peerId)) {
        if (seat.root !== 'writer') this.tree.remove(seat.peerId);
      }
    }
  }

  isEmpty(nowMs: number): boolean {
    return (
      this.recalling === undefined &&
      this.tree.size === 0 &&
      this.grants.nothing &&
      !this.grants.hasUnsettled(nowMs) &&
      this.failures.current(nowMs).length === 0
    );
  }

  #unroot(grant: Grant): void {
    const seat = this.tree.get(grant.peerId);
    if (seat?.root === 'writer') this.tree.detach(seat);
  }
}
