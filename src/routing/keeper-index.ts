import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import type { Timers } from '../time/timers.ts';
import { DigestChecksum } from './digest-checksum.ts';
import { type HolderIndex, type LastKnown, MAX_TAG_AGE_MS } from './holder-index.ts';
import { MAX_DIGESTS } from './index-messages.ts';
import type { PeerId } from './member.ts';

/** Bounds of all holders together: some 70 MB at worst. */
const MAX_KEYS = 100_000;
const MAX_PAIRS = 300_000;
const MAX_TAGS = 20_000;
/** So long an agent that is gone may come back to what it holds: a rolling update announces nothing again. */
const KEEP_GONE_MS = 60_000;
/** What another keeper says is on its way for less than this; and so many removals are remembered for so long. */
const HEARSAY_MS = 30_000;
const MAX_REMOVED = 5_000;
const BLOB = 'blob:';
const TAG = 'tag:';
/** A clock may begin below 0. */
const LONG_AGO = Number.NEGATIVE_INFINITY;
/** So many are looked up at once: to find the first of a Set, all that were deleted before it are walked past. */
const OLDEST = 1_000;
/** Who asks for all that it has told must not let the next newcomer look through it. */
const MAX_SPARED = 100;

interface Known {
  readonly peers: Set<PeerId>;
  /** Since it was last among the oldest. */
  asked: boolean;
}

interface Holder {
  readonly peerId: PeerId;
  /** In the order in which they were told, or found to be asked for. */
  readonly keys: Set<string>;
  /** What goes next where there is no room, the next one last; some may be gone already. */
  oldest: string[];
  /** Since when it is gone; undefined while it is a member. */
  goneAtMs: number | undefined;
}

export interface KeeperIndexOptions {
  /** Is it a live member? Only such holders are named. */
  readonly isLive: (peerId: PeerId) => boolean;
  readonly timers: Timers;
}

/**
 * Who holds what, as far as this agent is keeper or deputy of it. Holders that left or died are kept for a minute,
 * unnamed. When there are too many keys, those go that were told longest ago and that nobody asked for since, of the
 * newcomer itself if it has more than an equal share of the room, else of whoever has the most: an agent that says it
 * holds everything there is takes nothing from the others.
 */
export class KeeperIndex implements HolderIndex {
  readonly #options: KeeperIndexOptions;
  readonly #holders = new Map<PeerId, Holder>();
  readonly #keys = new Map<string, Known>();
  #pairs = 0;
  /** Who was found not to hold a key, and when. */
  readonly #removed = new LRUCache<string, number>({ max: MAX_REMOVED });
  readonly #tags = new LRUCache<string, { readonly bytes: Uint8Array; readonly atMs: number }>({ max: MAX_TAGS });
  /** Tags that were dropped, and when: what was known before that is not to come back with who missed it. */
  readonly #forgotten = new LRUCache<string, number>({ max: MAX_TAGS });

  constructor(options: KeeperIndexOptions) {
    this.#options = options;
  }

  /** Pairs of a key and a holder. */
  get entries(): number {
    return this.#pairs;
  }

  keys(): string[] {
    return [...this.#keys.keys(), ...this.#tags.keys()];
  }

  keysOf(peerId: PeerId): string[] {
    return [...(this.#holders.get(peerId)?.keys ?? [])];
  }

  holders(key: string): PeerId[] {
    const known = this.#keys.get(key);
    if (known === undefined) return [];
    known.asked = true;
    return [...known.peers].filter((peerId) => this.#options.isLive(peerId));
  }

  addByHearsay(key: string, peerId: PeerId): void {
    const removedMs = this.#removed.get(pairOf(key, peerId));
    if (removedMs === undefined || this.#options.timers.now() - removedMs >= HEARSAY_MS) this.add(key, peerId);
  }

  add(key: string, peerId: PeerId): void {
    this.#removed.delete(pairOf(key, peerId));
    let holder = this.#holders.get(peerId);
    if (holder === undefined) {
      holder = { peerId, keys: new Set(), oldest: [], goneAtMs: undefined };
      this.#holders.set(peerId, holder);
    }
    if (holder.keys.has(key) || holder.keys.size >= MAX_DIGESTS) return;
    const known = this.#keys.get(key) ?? { peers: new Set(), asked: false };
    known.peers.add(peerId);
    this.#keys.set(key, known);
    holder.keys.add(key);
    this.#pairs += 1;
    this.#makeRoom(holder);
  }

  #makeRoom(newcomer: Holder): void {
    let giver: Holder | undefined;
    let spared = 0;
    while (this.#keys.size > MAX_KEYS || this.#pairs > MAX_PAIRS) {
      giver ??= this.#whoGives(newcomer);
      if (this.#dropOldest(giver, spared < MAX_SPARED)) giver = undefined;
      else spared += 1;
    }
  }

  #whoGives(newcomer: Holder): Holder {
    // Who says 100,000 in a row has its share soon: the others are not looked through for each.
    if (newcomer.keys.size > MAX_KEYS / this.#holders.size) return newcomer;
    let most = newcomer;
    for (const holder of this.#holders.values()) if (holder.keys.size > most.keys.size) most = holder;
    return most;
  }

  /**
   * A key goes with the last who holds it.
   * @param spares one that was asked for: it is the youngest now.
   * @returns whether one went.
   */
  #dropOldest(holder: Holder, spares: boolean): boolean {
    if (holder.oldest.length === 0) holder.oldest = holder.keys.values().take(OLDEST).toArray().reverse();
    const key = holder.oldest.pop() ?? '';
    const known = this.#keys.get(key);
    if (known === undefined || !holder.keys.has(key)) return false;
    if (known.asked && spares) {
      known.asked = false;
      holder.keys.delete(key);
      holder.keys.add(key);
      return false;
    }
    this.#drop(key, holder.peerId);
    return true;
  }

  remove(key: string, peerId: PeerId): void {
    this.#removed.set(pairOf(key, peerId), this.#options.timers.now());
    this.#drop(key, peerId);
  }

  #drop(key: string, peerId: PeerId): void {
    const peers = this.#keys.get(key)?.peers;
    if (peers?.delete(peerId) && peers.size === 0) this.#keys.delete(key);
    this.#unlist(peerId, key);
  }

  /** What is known of one agent, replaced. */
  replace(peerId: PeerId, keys: readonly string[]): void {
    const wanted = new Set(keys);
    for (const key of [...(this.#holders.get(peerId)?.keys ?? [])]) {
      if (!wanted.has(key)) this.remove(key, peerId);
    }
    for (const key of wanted) this.add(key, peerId);
  }

  lastKnown(key: string): LastKnown | undefined {
    const tag = this.#tags.get(key);
    if (tag === undefined) return undefined;
    return { bytes: tag.bytes, ageMs: Math.min(MAX_TAG_AGE_MS, this.#options.timers.now() - tag.atMs) };
  }

  setLastKnown(key: string, { bytes, ageMs }: LastKnown): boolean {
    const atMs = this.#options.timers.now() - ageMs;
    const latestMs = Math.max(this.#tags.peek(key)?.atMs ?? LONG_AGO, this.#forgotten.peek(key) ?? LONG_AGO);
    if (atMs < latestMs) return false;
    this.#tags.set(key, { bytes, atMs });
    return true;
  }

  forget(key: string): void {
    for (const peerId of [...(this.#keys.get(key)?.peers ?? [])]) this.remove(key, peerId);
    this.#tags.delete(key);
    if (key.startsWith(TAG)) this.#forgotten.set(key, this.#options.timers.now());
  }

  /** Is nothing known of this tag, though nobody dropped it? */
  lacksTag(key: string): boolean {
    return !this.#tags.has(key) && !this.#forgotten.has(key);
  }

  /** What is known of one agent, of the keys that are `wanted`: for comparing with what it says. */
  checksumOf(peerId: PeerId, wanted: (key: string) => boolean): DigestChecksum {
    const checksum = new DigestChecksum();
    for (const key of this.#holders.get(peerId)?.keys ?? []) {
      if (wanted(key)) checksum.add(key);
    }
    return checksum;
  }

  /** Everything of which `wanted` is true, by holder; for who keeps it from now on. */
  select(wanted: (key: string) => boolean): {
    readonly holders: { readonly peerId: PeerId; readonly digests: Digest[] }[];
    readonly tags: { readonly key: string; readonly bytes: Uint8Array; readonly ageMs: number }[];
  } {
    const nowMs = this.#options.timers.now();
    const holders = [...this.#holders].map(([peerId, { keys }]) => ({
      peerId,
      digests: [...keys].filter(wanted).map((key) => key.slice(BLOB.length) as Digest),
    }));
    const tags = [...this.#tags.entries()]
      .filter(([key]) => wanted(key))
      .map(([key, { bytes, atMs }]) => ({ key, bytes, ageMs: nowMs - atMs }));
    return { holders: holders.filter(({ digests }) => digests.length > 0), tags };
  }

  /** To be called when members come and go, and now and then: forgets those gone for more than a minute. */
  sweep(): void {
    const nowMs = this.#options.timers.now();
    for (const [peerId, holder] of this.#holders) {
      if (this.#options.isLive(peerId)) {
        holder.goneAtMs = undefined;
        continue;
      }
      holder.goneAtMs ??= nowMs;
      if (nowMs - holder.goneAtMs < KEEP_GONE_MS) continue;
      for (const key of [...holder.keys]) this.#drop(key, peerId);
      this.#holders.delete(peerId);
    }
  }

  /** Forgets the keys that are not `wanted` any more. */
  prune(wanted: (key: string) => boolean): void {
    for (const [key, { peers }] of [...this.#keys]) {
      if (wanted(key)) continue;
      for (const peerId of [...peers]) this.#drop(key, peerId);
    }
    for (const key of [...this.#tags.keys()]) if (!wanted(key)) this.#tags.delete(key);
  }

  #unlist(peerId: PeerId, key: string): void {
    const holder = this.#holders.get(peerId);
    if (!holder?.keys.delete(key)) return;
    this.#pairs -= 1;
    if (holder.keys.size === 0) this.#holders.delete(peerId);
  }
}

function pairOf(key: string, peerId: PeerId): string {
  return `${peerId} ${key}`;
}
