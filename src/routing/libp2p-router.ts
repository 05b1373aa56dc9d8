import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { Timers } from '../time/timers.ts';
import { Announcer } from './announcer.ts';
import { DhtProvides, ENOUGH_HOLDERS } from './dht-provides.ts';
import { IndexExchange } from './index-exchange.ts';
import { lookupAnswerSchema, packedSchema } from './index-messages.ts';
import type { KeeperIndex } from './keeper-index.ts';
import type { KnownTag } from './kept.ts';
import type { PeerId } from './member.ts';
import { packDigests, unpackDigests } from './packed-digests.ts';
import type { PeerCalls } from './peer-calls.ts';
import type { Roster, RosterChange } from './roster.ts';
import type { Router } from './router.ts';

/** After a change of members, so that a rolling update or a mass start is taken in at once. */
const SETTLE_MS = 1_000;
const SWEEP_MS = 30_000;
const NEIGHBOURS = 8;
/** So long after its start an agent still learns who its neighbours are. */
const NEW_MS = 30_000;
const MAX_NEWS = 10_000;
/** By then the keepers have been told, and asked whether they have it right. */
const NEWS_LIFE_MS = 120_000;
const NEWS_MS = 500;
/** As many that are held, and as many that are no more, fit into one message of gossip. */
const MAX_NEWS_DIGESTS = 700;

const heldSchema = z.object({ type: z.literal('held'), digests: packedSchema, gone: packedSchema });

interface Heard {
  readonly peerId: PeerId;
  readonly atMs: number;
}

/** The part of kad-dht that is used. Both may do nothing: hints only. */
export interface Dht {
  /** Queued, at a low rate; what is too much is dropped. */
  provide(digest: string): void;
  /** Stops providing it; what others remember they forget in time. */
  withdraw(digest: string): void;
  findProviders(digest: string, options: { readonly signal: AbortSignal }): Promise<PeerId[]>;
}

/** Lossy: gossipsub. */
export interface News {
  publish(bytes: Uint8Array): void;
  subscribe(listener: (bytes: Uint8Array, from: PeerId) => void): () => void;
}

export interface Libp2pRouterOptions {
  readonly roster: Roster;
  readonly calls: PeerCalls;
  readonly index: KeeperIndex;
  readonly timers: Timers;
  readonly dht: Dht;
  readonly news: News;
  readonly tags: () => Promise<readonly KnownTag[]>;
  readonly logger: Logger;
  readonly random?: () => number;
  readonly announceMs?: number;
}

/** Who holds what: the keepers' index, helped by gossip's news and the DHT. */
export class Libp2pRouter implements Router {
  readonly #options: Libp2pRouterOptions;
  readonly #announcer: Announcer;
  readonly #exchange: IndexExchange;
  /** Of a digest, those that were heard to hold it, the last one last; no more than are enough. */
  readonly #news = new LRUCache<string, readonly Heard[]>({ max: MAX_NEWS });
  readonly #provides: DhtProvides;
  readonly #stop = new AbortController();
  readonly #toTell = new Set<string>();
  readonly #toRevoke = new Set<string>();
  #cancelNews: (() => void) | undefined;
  #cancelSettle: (() => void) | undefined;
  #neighbours: ReadonlySet<PeerId> = new Set();
  /** Incarnations of the members that were met. */
  readonly #seen = new LRUCache<PeerId, number>({ max: 10_000 });
  #startedAtMs = 0;
  #wantsRange = false;
  #changed = false;

  constructor(options: Libp2pRouterOptions) {
    this.#options = options;
    this.#announcer = new Announcer(options);
    this.#exchange = new IndexExchange(options);
    this.#provides = new DhtProvides(options, (digest) => this.#knownHolders(digest));
  }

  /** @param held what the store holds. To be called when the roster has been taken from another member, if any. */
  async start(held: Iterable<string>): Promise<void> {
    const { roster, news } = this.#options;
    const unsubscribes = [
      roster.subscribe((change) => this.#membersChanged(change)),
      news.subscribe((bytes, from) => this.#hear(bytes, from)),
    ];
    this.#stop.signal.addEventListener('abort', () => {
      for (const unsubscribe of unsubscribes) unsubscribe();
    });
    this.#sweepNowAndThen();
    this.#startedAtMs = this.#options.timers.now();
    this.#neighbours = this.#nearest();
    for (const { peerId, incarnation } of roster.members()) this.#seen.set(peerId, incarnation);
    await Promise.all([this.#exchange.takeRange(this.#stop.signal), this.#announcer.start(held)]);
  }

  /** Tells what waits, and hands over what this agent keeps. @param signal the bound of that. */
  async stop(signal: AbortSignal): Promise<void> {
    // Neither waits for the other: an agent that does not answer must not cost the successors what they need.
    await Promise.all([this.flush(signal), this.#exchange.handOver(signal)]);
    this.#cancelSettle?.();
    this.#provides.stop();
    this.#stop.abort(new Error('the router stops'));
    this.#announcer.stop();
  }

  /** Tells everybody what waits to be told. */
  async flush(signal?: AbortSignal): Promise<void> {
    if (this.#cancelNews !== undefined) {
      this.#cancelNews();
      this.#tell();
    }
    await this.#announcer.flush(signal);
  }

  /** The CallHandler of path `index`. */
  handle(from: PeerId, body: unknown): Promise<unknown> {
    return this.#exchange.handle(from, body);
  }

  async ready(signal: AbortSignal): Promise<void> {
    // Keepers answer from the first moment on; what they do not know yet is a miss, and costs no more than that.
    signal.throwIfAborted();
  }

  async lookup(
    digest: string,
    options: { readonly signal: AbortSignal; readonly timeoutMs: number },
  ): Promise<PeerId[]> {
    const { dht } = this.#options;
    options.signal.throwIfAborted();
    if (!isDigest(digest)) return [];
    const bound = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs), this.#stop.signal]);
    const kept = this.#liveOthers(await this.#askKeepers(digest, bound));
    if (kept.length > 0) return kept;
    const heard = this.heard(digest);
    if (heard.length > 0) return heard;
    const found = await dht.findProviders(digest, { signal: bound }).catch(() => []);
    options.signal.throwIfAborted();
    return this.#liveOthers(found);
  }

  /** Other agents that have told all, lately, that they hold it: known at once, and not to be relied on. */
  heard(digest: string): PeerId[] {
    const sinceMs = this.#options.timers.now() - NEWS_LIFE_MS;
    const lately = (this.#news.get(digest) ?? []).filter(({ atMs }) => atMs > sinceMs);
    return this.#liveOthers(lately.map(({ peerId }) => peerId));
  }

  advertise(digests: Iterable<string>): void {
    const all = [...digests];
    this.#announcer.advertise(all);
    this.#provides.add(all);
    for (const digest of all) {
      this.#toRevoke.delete(digest);
      if (this.#toTell.size < MAX_NEWS_DIGESTS) this.#toTell.add(digest);
    }
    this.#cancelNews ??= this.#options.timers.after(NEWS_MS, () => this.#tell());
  }

  withdraw(digests: Iterable<string>): void {
    const all = [...digests];
    for (const digest of all) {
      this.#toTell.delete(digest);
      if (this.#toRevoke.size < MAX_NEWS_DIGESTS) this.#toRevoke.add(digest);
    }
    this.#provides.remove(all);
    this.#cancelNews ??= this.#options.timers.after(NEWS_MS, () => this.#tell());
    this.#announcer.withdraw(all);
  }

  #liveOthers(peers: Iterable<PeerId>): PeerId[] {
    const { roster } = this.#options;
    return [...new Set(peers)].filter((peerId) => peerId !== roster.self.peerId && roster.isLive(peerId));
  }

  #knownHolders(digest: string): number {
    const { index } = this.#options;
    return this.#liveOthers([...index.holders(`blob:${digest}`), ...this.heard(digest)]).length;
  }

  /** The first keeper that answers. */
  async #askKeepers(digest: Digest, signal: AbortSignal): Promise<readonly PeerId[]> {
    const { roster, calls, index } = this.#options;
    const key = `blob:${digest}`;
    const keepers = roster.keepers(key);
    const timeoutMs = 1_000;
    for (const keeper of keepers) {
      if (keeper.peerId === roster.self.peerId) {
        const holders = index.holders(key);
        if (holders.length > 0) return holders;
        continue;
      }
      try {
        const answer = await calls.call(keeper, 'index', { type: 'lookup', digest }, { signal, timeoutMs });
        const { holders } = lookupAnswerSchema.parse(answer);
        if (holders.length > 0) return holders;
      } catch {
        if (signal.aborted) return [];
      }
    }
    return [];
  }

  #tell(): void {
    this.#cancelNews = undefined;
    const text = JSON.stringify({
      type: 'held',
      digests: packDigests(this.#toTell),
      gone: packDigests(this.#toRevoke),
    });
    this.#toTell.clear();
    this.#toRevoke.clear();
    this.#options.news.publish(Buffer.from(text));
  }

  #hear(bytes: Uint8Array, from: PeerId): void {
    const news = parseHeld(bytes);
    if (news === undefined) return;
    const heard: Heard = { peerId: from, atMs: this.#options.timers.now() };
    const without = (digest: string) => (this.#news.peek(digest) ?? []).filter(({ peerId }) => peerId !== from);
    for (const digest of unpackDigests(news.digests) ?? []) {
      this.#news.set(digest, [...without(digest), heard].slice(-ENOUGH_HOLDERS));
    }
    for (const digest of unpackDigests(news.gone) ?? []) {
      const left = without(digest);
      if (left.length > 0) this.#news.set(digest, left);
      else this.#news.delete(digest);
    }
  }

  #nearest(): ReadonlySet<PeerId> {
    const { roster } = this.#options;
    return new Set(roster.keepers(roster.self.peerId, NEIGHBOURS + 1).map(({ peerId }) => peerId));
  }

  /**
   * Takes its range again where nobody hands it over: a neighbour died; one that was out of reach is back with what it
   * was told meanwhile; or this agent is new and still meets its neighbours. A restart in order costs others nothing.
   */
  #membersChanged({ joined, left }: RosterChange): void {
    const { timers } = this.#options;
    this.#changed = true;
    const before = this.#neighbours;
    this.#neighbours = this.#nearest();
    const isNew = timers.now() - this.#startedAtMs < NEW_MS;
    const died = left.some(({ member, leaving }) => !leaving && before.has(member.peerId));
    const met = joined.some(({ peerId, incarnation }) => {
      const known = this.#seen.get(peerId);
      this.#seen.set(peerId, incarnation);
      return this.#neighbours.has(peerId) && (isNew || known === incarnation);
    });
    this.#settle(died || met);
  }

  #settle(takeRange: boolean): void {
    const { timers, index, random = Math.random } = this.#options;
    this.#wantsRange ||= takeRange;
    this.#cancelSettle ??= timers.after(SETTLE_MS * (1 + random()), () => {
      this.#cancelSettle = undefined;
      index.sweep();
      if (this.#wantsRange) void this.#exchange.takeRange(this.#stop.signal);
      this.#wantsRange = false;
    });
  }

  #sweepNowAndThen(): void {
    this.#options.timers.after(SWEEP_MS, () => {
      if (this.#stop.signal.aborted) return;
      this.#options.index.sweep();
      if (this.#changed) this.#exchange.dropOthers();
      this.#changed = false;
      this.#sweepNowAndThen();
    });
  }
}

/** Undefined for other news, and for nonsense: others use the channel as well. */
function parseHeld(bytes: Uint8Array): z.output<typeof heldSchema> | undefined {
  try {
    return heldSchema.safeParse(JSON.parse(Buffer.from(bytes).toString())).data;
  } catch {
    return undefined;
  }
}
