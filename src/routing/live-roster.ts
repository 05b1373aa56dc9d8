import type { Logger } from 'pino';
import type { Member, PeerId, SignedMember } from './member.ts';
import { WIRE_VERSION } from './member.ts';
import {
  isGenuine,
  type MemberEntry,
  type MemberVersion,
  readMember,
  type Sign,
  signMember,
  type Verify,
} from './member-entry.ts';
import type { CallHandler, PeerCalls } from './peer-calls.ts';
import { KEEPERS, type Roster, type RosterChange } from './roster.ts';
import { RosterExchange } from './roster-exchange.ts';
import { type NewsChannel, RosterNews } from './roster-news.ts';
import { RosterProbes } from './roster-probes.ts';
import { RosterTable } from './roster-table.ts';
import type { Timers } from './timers.ts';

const PROBE_EVERY_MS = 5_000;
const REVIVE_EVERY_MS = 10_000;
const COMPARE_EVERY_MS = 30_000;
/** A newcomer is asked for what it knows after a random part of this. */
const NEWCOMER_MS = 300;
/** News needs that long to reach all; until then a difference is nothing to mend. */
const NEWS_MS = 2_000;
/** An agent says no more often than this that it is not dead. */
const RENEW_MS = 1_000;
/** Signatures that are checked in one go: some 5 ms. */
const SLICE = 50;

/** Of this agent: what the roster does not know by itself. */
export type SelfDescription = Omit<Member, 'sequence' | 'wireVersion' | 'leaving'>;

export interface LiveRosterOptions {
  readonly sign: Sign;
  readonly verify: Verify;
  readonly calls: PeerCalls;
  readonly news: NewsChannel;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly wireVersion?: number;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
}

/**
 * The roster of a running agent. Who is there is learnt at hellos (`merge`), from news, and by comparing all members
 * with a random one each 30 s; who is dead is found by failed calls and probes (see RosterProbes). News may all be
 * lost: comparing alone makes the rosters equal.
 *
 * A member that is known from others alone is live at once, as all must name the same keepers soon after it came; if
 * it does not exist it is out as soon as somebody calls it. Such members make room for those that were met, when there
 * are too many.
 */
export class LiveRoster implements Roster {
  readonly #options: LiveRosterOptions;
  readonly #random: () => number;
  readonly #table: RosterTable;
  readonly #news: RosterNews;
  readonly #probes: RosterProbes;
  readonly #exchange: RosterExchange;
  readonly #listeners = new Set<(change: RosterChange) => void>();
  readonly #stopping = new AbortController();
  readonly #taken = Promise.withResolvers<void>();
  /** What is to be undone at the end. */
  readonly #undo = new Map<string, () => void>();
  #self: MemberEntry;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  /** Members still to be probed in this round, in random order. */
  #round: PeerId[] = [];
  /** Who is compared with next, as soon as may be. */
  #next: PeerId | undefined;
  #comparing = false;
  #mendedAtMs = Number.NEGATIVE_INFINITY;

  constructor(self: SelfDescription, options: LiveRosterOptions) {
    const { sign, verify, calls, news, timers, random = Math.random, wireVersion = WIRE_VERSION } = options;
    this.#options = options;
    this.#random = random;
    this.#self = signMember({ ...self, sequence: 0, wireVersion, leaving: false }, sign);
    this.#table = new RosterTable(this.#self, timers);
    this.#news = new RosterNews(news, { selfId: self.peerId, sign, verify, timers });
    this.#exchange = new RosterExchange({
      table: this.#table,
      calls,
      self: () => this.#self,
      absorb: (entries, origin) => this.merge(entries, origin),
      accuse: (peerId, version, by) => this.#accused(peerId, version, by),
      calledDead: (version) => this.#calledDead(version),
      look: (peerId) => this.#probes.look(peerId),
      differs: (peerId) => this.#differs(peerId),
      signal: this.#stopping.signal,
    });
    this.#probes = new RosterProbes({
      selfId: self.peerId,
      table: this.#table,
      timers,
      random,
      probe: (member, calledDead) => this.#exchange.probe(member, calledDead),
      ask: (witness, target) => this.#exchange.ask(witness, target),
      onDead: (peerId, version, tell) => this.#died(peerId, version, tell),
    });
  }

  get self(): Member {
    return this.#self.member;
  }

  /** This agent's own entry, for hellos. */
  get signedSelf(): SignedMember {
    return this.#self.signed;
  }

  get changedAtMs(): number {
    return this.#table.changedAtMs;
  }

  /** Answers POST /windlass/v1/roster. */
  readonly handleRoster: CallHandler = (from, body) => this.#exchange.handle(from, body);

  start(): void {
    this.#undo.set(
      'news',
      this.#options.news.subscribe((bytes) => this.#read(bytes)),
    );
    this.#news.tell(this.#self);
    this.#every('probe', PROBE_EVERY_MS, () => this.#probeNext());
    this.#every('compare', COMPARE_EVERY_MS, () => this.#compareSoon(this.#anyOf(this.#others())?.peerId, 0));
    this.#every('revive', REVIVE_EVERY_MS, () => {
      this.#table.sweep();
      const dead = this.#anyOf(this.#table.dead());
      if (dead !== undefined) this.#probes.look(dead.entry.member.peerId);
    });
  }

  stop(): void {
    this.#stopping.abort();
    for (const undo of this.#undo.values()) undo();
    this.#undo.clear();
    this.#probes.stop();
    this.#news.stop();
  }

  members(): readonly Member[] {
    return this.#table.members();
  }

  get(peerId: PeerId): Member | undefined {
    return this.#table.get(peerId);
  }

  isLive(peerId: PeerId): boolean {
    return this.#table.isLive(peerId);
  }

  keepers(key: string, count = KEEPERS): readonly Member[] {
    return this.#table.closest(key, count);
  }

  suspect(peerId: PeerId, how: 'gone' | 'silent'): void {
    this.#probes.suspect(peerId, how);
  }

  heard(peerId: PeerId): void {
    if (this.#table.find(peerId)?.state === 'dead') this.#probes.look(peerId);
    else this.#table.heard(peerId);
  }

  subscribe(listener: (change: RosterChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Takes entries that are genuine and newer than those known; others are left out.
   * @param from the member that the connection proved to be the one who told them, if any.
   */
  async merge(entries: readonly SignedMember[], from?: PeerId): Promise<void> {
    for (let at = 0; at < entries.length && !this.#stopping.signal.aborted; at += SLICE) {
      if (at > 0) await new Promise<void>((resolve) => this.#options.timers.after(0, resolve));
      this.#take(entries.slice(at, at + SLICE), from);
    }
  }

  /**
   * Compares members with one other agent, and takes what it knows.
   * @param to a member, or the `host:port` of any agent's data plane
   * @throws as PeerCalls
   */
  async exchangeWith(to: Member | string): Promise<void> {
    await this.#exchange.exchange(to);
    this.#taken.resolve();
  }

  /** Resolves when the members have been taken from another agent once. Never rejects; never resolves when alone. */
  taken(): Promise<void> {
    return this.#taken.promise;
  }

  /** What was learnt later about this agent. */
  updateSelf(change: Partial<Pick<Member, 'nodeName' | 'zone' | 'dataAddress' | 'p2pAddresses'>>): void {
    this.#renew(change);
  }

  /** Tells all that this agent goes down in order: from now on nobody names it as a keeper, itself included. */
  async leave(): Promise<void> {
    if (this.self.leaving) return;
    this.#renew({ leaving: true });
    this.#news.flush();
    const heirs = this.#table.closest(this.self.peerId, KEEPERS);
    await Promise.allSettled(heirs.map((heir) => this.#exchange.give(heir, [this.#self.signed])));
  }

  #take(entries: readonly SignedMember[], from: PeerId | undefined): void {
    const joined: Member[] = [];
    const left: { readonly member: Member; readonly leaving: boolean }[] = [];
    for (const signed of entries) {
      const entry = readMember(signed);
      if (entry === undefined) continue;
      const { peerId } = entry.member;
      const firstHand = peerId === from;
      if (!this.#table.wants(entry, firstHand) || !isGenuine(entry, this.#options.verify)) continue;
      if (peerId === this.self.peerId) {
        this.#outrun(entry.member);
        continue;
      }
      const change = this.#table.take(entry, firstHand);
      this.#probes.refuted(peerId);
      joined.push(...change.joined);
      left.push(...change.left);
      if (firstHand && change.joined.length > 0) {
        // Its own news may not have got far: it came but now.
        this.#news.tell(entry);
        this.#compareSoon(peerId, NEWCOMER_MS);
      }
    }
    this.#emit({ joined, left });
  }

  #read(bytes: Uint8Array): void {
    const news = this.#news.read(bytes);
    if (news === undefined || news.from === this.self.peerId) return;
    this.#take(news.entries, undefined);
    for (const { entry } of news.entries) this.#news.wasTold(entry);
    for (const [peerId, incarnation, sequence] of news.dead) {
      if (this.#table.isLive(news.from)) this.#accused(peerId, { incarnation, sequence }, news.from);
    }
  }

  #accused(peerId: PeerId, version: MemberVersion, by: PeerId): void {
    if (peerId === this.self.peerId) this.#calledDead(version);
    else this.#probes.accuse(peerId, version, by);
  }

  #calledDead({ incarnation, sequence }: MemberVersion): void {
    // Of an older entry it is no matter, and a newer one there is not.
    if (incarnation !== this.self.incarnation || sequence !== this.self.sequence || this.self.leaving) return;
    const waitMs = this.#renewedAtMs + RENEW_MS - this.#options.timers.now();
    if (waitMs <= 0) this.#renew({});
    else this.#once('renew', waitMs, () => this.#calledDead({ incarnation, sequence }));
  }

  /** An entry that this identity signed, newer than ours. */
  #outrun(version: MemberVersion): void {
    if (this.self.leaving || this.#options.timers.now() < this.#renewedAtMs + RENEW_MS) return;
    const { incarnation, sequence } = version;
    if (incarnation === this.self.incarnation) {
      this.#renew({}, sequence);
      return;
    }
    this.#options.logger.warn(
      { ours: this.self.incarnation, incarnation },
      'another process has this identity, or its incarnation was set back',
    );
    this.#renew({ incarnation: incarnation + 1 }, -1);
  }

  #renew(change: Partial<Member>, above = this.self.sequence): void {
    if (this.#stopping.signal.aborted) return;
    this.#renewedAtMs = this.#options.timers.now();
    this.#self = signMember({ ...this.self, ...change, sequence: above + 1 }, this.#options.sign);
    const changed = this.#table.take(this.#self, true);
    this.#news.tell(this.#self);
    this.#emit(changed);
  }

  #died(peerId: PeerId, version: MemberVersion, tell: boolean): void {
    const change = this.#table.die(peerId, version);
    if (change.left.length > 0 && tell) this.#news.tellDead([peerId, version.incarnation, version.sequence]);
    this.#emit(change);
  }

  #emit(change: RosterChange): void {
    if (change.joined.length === 0 && change.left.length === 0) return;
    const { logger } = this.#options;
    for (const { peerId, nodeName, zone } of change.joined) logger.info({ peerId, nodeName, zone }, 'member joined');
    for (const { member, leaving } of change.left) {
      const { peerId, nodeName } = member;
      logger.info({ peerId, nodeName, leaving }, leaving ? 'member left' : 'member is gone');
    }
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (err) {
        logger.error({ err }, 'a listener to the roster failed');
      }
    }
  }

  #probeNext(): void {
    for (;;) {
      if (this.#round.length === 0) {
        this.#round = this.#others().map(({ peerId }) => peerId);
        if (this.#round.length === 0) return;
      }
      const [peerId] = this.#round.splice(Math.floor(this.#random() * this.#round.length), 1);
      if (peerId === undefined || !this.isLive(peerId)) continue;
      this.#probes.look(peerId);
      return;
    }
  }

  #differs(peerId: PeerId): void {
    const nowMs = this.#options.timers.now();
    if (nowMs - this.changedAtMs < NEWS_MS || nowMs - this.#mendedAtMs < PROBE_EVERY_MS) return;
    this.#mendedAtMs = nowMs;
    this.#compareSoon(peerId, 0);
  }

  #compareSoon(peerId: PeerId | undefined, withinMs: number): void {
    if (peerId === undefined) return;
    this.#next = peerId;
    if (!this.#comparing && !this.#undo.has('next'))
      this.#once('next', this.#random() * withinMs, () => this.#compare());
  }

  #compare(): void {
    const member = this.#next === undefined ? undefined : this.#table.find(this.#next)?.entry.member;
    this.#next = undefined;
    if (member === undefined) return;
    this.#comparing = true;
    this.exchangeWith(member)
      .catch((err: unknown) => {
        if (!this.#stopping.signal.aborted) this.#options.logger.debug({ err, peerId: member.peerId }, 'not compared');
        this.#probes.look(member.peerId);
      })
      .finally(() => {
        this.#comparing = false;
        this.#compareSoon(this.#next, NEWCOMER_MS);
      });
  }

  #others(): Member[] {
    return this.members().filter(({ peerId }) => peerId !== this.self.peerId);
  }

  #anyOf<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  #once(name: string, ms: number, call: () => void): void {
    if (this.#stopping.signal.aborted || this.#undo.has(name)) return;
    const cancel = this.#options.timers.after(ms, () => {
      this.#undo.delete(name);
      call();
    });
    this.#undo.set(name, cancel);
  }

  #every(name: string, ms: number, call: () => void): void {
    this.#once(name, ms * (0.75 + this.#random() / 2), () => {
      call();
      this.#every(name, ms, call);
    });
  }
}
