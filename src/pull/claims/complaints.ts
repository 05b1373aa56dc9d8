import type { PeerId } from '../../routing/member.ts';
import { BoundedMap } from './bounded-map.ts';
import type { FailedPeer } from './messages.ts';

/** A clock may begin below 0. */
const LONG_AGO = Number.NEGATIVE_INFINITY;

const MAX_PEERS = 10_000;
const AVOIDED_MS = 30_000;
const SLOW_MS = 60_000;
/** So many different claimers are believed. */
const ENOUGH = 3;
/** One complaint is enough to try others first for a moment: who breaks for one is often gone. */
const DOUBTED_MS = 2_000;

const COUNTED: ReadonlySet<FailedPeer['why']> = new Set(['broken', 'silent', 'wrong']);

/** What claimers say of each other, over all keys: who is better not named as a parent. */
export class Complaints {
  /** Of each peer: who complained, and when. At most ENOUGH of them. */
  readonly #by = new BoundedMap<PeerId, Map<PeerId, number>>(MAX_PEERS);
  readonly #avoidedUntilMs = new BoundedMap<PeerId, number>(MAX_PEERS);
  readonly #slowUntilMs = new BoundedMap<PeerId, number>(MAX_PEERS);
  readonly #strainedUntilMs = new BoundedMap<PeerId, number>(MAX_PEERS);

  note(about: PeerId, why: FailedPeer['why'], from: PeerId, nowMs: number): void {
    if (!COUNTED.has(why) || about === from) return;
    const by = this.#by.get(about) ?? new Map<PeerId, number>();
    for (const [peerId, atMs] of by) if (nowMs - atMs > AVOIDED_MS) by.delete(peerId);
    by.set(from, nowMs);
    this.#by.set(about, by);
    if (by.size < ENOUGH) return;
    this.#by.delete(about);
    this.#avoidedUntilMs.set(about, nowMs + AVOIDED_MS);
  }

  /** It was too slow for a child: for a minute it gets none. */
  noteSlow(about: PeerId, nowMs: number): void {
    this.#slowUntilMs.set(about, nowMs + SLOW_MS);
  }

  /** It says so itself, or was slow in a chain for long: for a minute it is the last of each chain, too. */
  noteStrained(about: PeerId, nowMs: number): void {
    this.noteSlow(about, nowMs);
    this.#strainedUntilMs.set(about, nowMs + SLOW_MS);
  }

  isAvoided(peerId: PeerId, nowMs: number): boolean {
    return (this.#avoidedUntilMs.get(peerId) ?? LONG_AGO) > nowMs;
  }

  isDoubted(peerId: PeerId, nowMs: number): boolean {
    for (const atMs of this.#by.get(peerId)?.values() ?? []) if (nowMs - atMs <= DOUBTED_MS) return true;
    return this.isAvoided(peerId, nowMs);
  }

  /** In the past where it may have children. */
  slowUntilMs(peerId: PeerId): number {
    return this.#slowUntilMs.get(peerId) ?? LONG_AGO;
  }

  /** In the past where it may be anywhere in a chain. */
  strainedUntilMs(peerId: PeerId): number {
    return this.#strainedUntilMs.get(peerId) ?? LONG_AGO;
  }

  /** It is another process by now. */
  forgive(peerId: PeerId): void {
    this.#by.delete(peerId);
    this.#avoidedUntilMs.delete(peerId);
  }
}
