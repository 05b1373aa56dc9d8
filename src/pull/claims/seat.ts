import type { PeerId } from '../../routing/member.ts';
import type { Complaints } from './complaints.ts';

/** A clock may begin below 0. */
const LONG_AGO = Number.NEGATIVE_INFINITY;

/** A child that is not helped complains every two seconds; of so many in a row, over so long, none is chance. */
const SLOW_PAUSE_MS = 5_000;
const SLOW_CLAIMS = 4;
const SLOW_LONG_MS = 6_000;

interface Load {
  readonly fanOut: number;
  readonly nowMs: number;
}

/** One node's place in the tree of one key. */
export class Seat {
  readonly peerId: PeerId;
  readonly incarnation: number;
  zone: string;
  /** It reads from nobody: it writes, or holds the whole. */
  root: 'writer' | 'holder' | undefined;
  readonly children = new Set<Seat>();
  /** It said that it was full, or was found slow: no new children until then. */
  closedUntilMs = LONG_AGO;
  /** It said that it was full: nobody is sent to it, not even in a chain. */
  #fullUntilMs = LONG_AGO;
  #strainedUntilMs = LONG_AGO;
  heardAtMs = 0;
  /** Whose seat it was given, so that a claim asked again gets the same answer. */
  replaces: PeerId | undefined;
  /** When it came with nothing, before all others had much: in a chain another one may yet come between it and its parent. */
  joinedAtMs = LONG_AGO;
  /** The seat whose node is to be told that it is below this one, and has not come to hear so itself: it reads from our parent. */
  #displaced: Seat | undefined;
  /** Since when it has nobody to read from but those that failed it; then they are tried again. */
  strandedSinceMs: number | undefined;
  /** Who was silent and was named once more all the same, while that is complained of. */
  readonly triedAgain = new Set<PeerId>();
  /** Claims in a row that called its parent slow; the first and the last of them. */
  #slow = { claims: 0, firstMs: LONG_AGO, lastMs: LONG_AGO };
  #parent: Seat | undefined;
  /** The last parent, also after that one is gone. */
  #lastParent: PeerId | undefined;

  constructor(peerId: PeerId, incarnation: number, zone: string) {
    this.peerId = peerId;
    this.incarnation = incarnation;
    this.zone = zone;
  }

  get parent(): Seat | undefined {
    return this.#parent;
  }

  get lastParent(): PeerId | undefined {
    return this.#lastParent;
  }

  attach(parent: Seat | undefined): void {
    this.giveBack();
    this.#place(parent);
  }

  #place(parent: Seat | undefined): void {
    this.#parent?.children.delete(this);
    this.#parent = parent;
    this.replaces = undefined;
    this.#slow = { claims: 0, firstMs: LONG_AGO, lastMs: LONG_AGO };
    if (parent === undefined) return;
    this.strandedSinceMs = undefined;
    parent.children.add(this);
    this.#lastParent = parent.peerId;
  }

  /** Comes between its parent and who reads from that now. */
  displace(next: Seat): void {
    next.#place(this);
    this.#displaced = next;
    this.replaces = next.peerId;
  }

  /** It has come by itself, and is told its parent. */
  arrive(): void {
    const parent = this.#parent;
    if (parent !== undefined && parent.#displaced === this) parent.#displaced = undefined;
  }

  /** It could not take the seat: who has not come by itself yet still reads from where it did. */
  giveBack(): void {
    const next = this.#displaced;
    this.#displaced = undefined;
    if (next === undefined || next.#parent !== this) return;
    next.#place(this.#parent);
    this.replaces = undefined;
  }

  /** It reads from nobody, so it can complain of nobody. */
  forgetParent(): void {
    this.attach(undefined);
    this.strandedSinceMs = undefined;
    this.#lastParent = undefined;
  }

  /** A claim that came then says that the parent is slow. Looked at again, or behind a later one, it is none. */
  noteSlow(atMs: number): void {
    const { claims, firstMs, lastMs } = this.#slow;
    if (atMs <= lastMs) return;
    const goesOn = atMs - lastMs <= SLOW_PAUSE_MS;
    this.#slow = goesOn ? { claims: claims + 1, firstMs, lastMs: atMs } : { claims: 1, firstMs: atMs, lastMs: atMs };
  }

  /** It has been so for long, by what the child said again and again. */
  get isParentSlowForLong(): boolean {
    const { claims, firstMs, lastMs } = this.#slow;
    return claims >= SLOW_CLAIMS && lastMs - firstMs >= SLOW_LONG_MS;
  }

  top(): Seat {
    let seat: Seat = this;
    while (seat.#parent !== undefined) seat = seat.#parent;
    return seat;
  }

  isBelow(other: Seat): boolean {
    for (let seat: Seat | undefined = this; seat !== undefined; seat = seat.#parent) if (seat === other) return true;
    return false;
  }

  /** No new children until then, or longer. */
  close(untilMs: number): void {
    this.closedUntilMs = Math.max(this.closedUntilMs, untilMs);
  }

  /** It has no room. */
  closeAsFull(untilMs: number): void {
    this.#fullUntilMs = Math.max(this.#fullUntilMs, untilMs);
    this.close(untilMs);
  }

  /** What is known of its node, whatever the key. */
  heed(complaints: Pick<Complaints, 'slowUntilMs' | 'strainedUntilMs'>): void {
    this.close(complaints.slowUntilMs(this.peerId));
    this.#strainedUntilMs = complaints.strainedUntilMs(this.peerId);
  }

  isFull(nowMs: number): boolean {
    return this.#fullUntilMs > nowMs;
  }

  /** It is to be the last in a chain. */
  isStrained(nowMs: number): boolean {
    return this.#strainedUntilMs > nowMs;
  }

  isClosed(nowMs: number): boolean {
    return this.closedUntilMs > nowMs;
  }

  /** For a reader of the same zone. One child that imports into another zone does not count. */
  isFree({ fanOut, nowMs }: Load): boolean {
    if (this.isClosed(nowMs)) return false;
    return this.children.size < fanOut || this.children.size - Math.min(1, this.#exports()) < fanOut;
  }

  /** For the first reader of another zone: one more than the fan-out. */
  mayExport({ fanOut, nowMs }: Load): boolean {
    return !this.isClosed(nowMs) && this.children.size < fanOut + 1;
  }

  #exports(): number {
    let count = 0;
    for (const child of this.children) if (child.zone !== this.zone) count += 1;
    return count;
  }
}
