// Over 300 lines: hellos, news, comparisons and probes change one table, by one set of rules.

import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Timers } from '../time/timers.ts';
import { canTalk, type Member, type PeerId, type SignedMember, WIRE_VERSION } from './member.ts';
import { isGenuine, type MemberEntry, type MemberVersion, readMember, type Sign, type Verify } from './member-entry.ts';
import type { CallHandler, PeerCalls } from './peer-calls.ts';
import { KEEPERS, type Roster, type RosterChange } from './roster.ts';
import { RosterComparisons } from './roster-comparisons.ts';
import { RosterExchange } from './roster-exchange.ts';
import { type NewsChannel, RosterNews } from './roster-news.ts';
import { RosterProbes } from './roster-probes.ts';
import { RosterRounds } from './roster-rounds.ts';
import { RosterSchedule } from './roster-schedule.ts';
import { RosterSelf } from './roster-self.ts';
import { RosterTable } from './roster-table.ts';

/** A newcomer is asked for what it knows after a random part of this. */
const NEWCOMER_MS = 300;
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
 * A member that is known from others alone is live at once, as all must name the same keepers soon after it came. If
 * it does not exist it is out as soon as somebody calls it, and some of those who hear of it do so within 10 s. When
 * there are too many members, such ones make room for those that were met.
 */
export class LiveRoster implements Roster {
  readonly #options: LiveRosterOptions;
  readonly #table: RosterTable;
  readonly #news: RosterNews;
  readonly #probes: RosterProbes;
  readonly #exchange: RosterExchange;
  readonly #comparisons: RosterComparisons;
  readonly #rounds: RosterRounds;
  readonly #listeners = new Set<(change: RosterChange) => void>();
  readonly #stopping = new AbortController();
  readonly #taken = Promise.withResolvers<void>();
  readonly #schedule: RosterSchedule;
  readonly #self: RosterSelf;
  /** Wire versions that were refused, to say so once. */
  readonly #refused = new LRUCache<PeerId, number>({ max: 1_000 });
  #unsubscribe: (() => void) | undefined;

  constructor(self: SelfDescription, options: LiveRosterOptions) {
    const { sign, verify, calls, news, timers, logger, random = Math.random, wireVersion = WIRE_VERSION } = options;
    this.#options = options;
    this.#schedule = new RosterSchedule(timers, random);
    this.#self = new RosterSelf(
      { ...self, sequence: 0, wireVersion, leaving: false },
      { sign, timers, schedule: this.#schedule, logger, onRenewed: (entry) => this.#renewed(entry) },
    );
    this.#table = new RosterTable(this.#self.entry, timers);
    this.#news = new RosterNews(news, { selfId: self.peerId, sign, verify, timers });
    this.#exchange = new RosterExchange({
      table: this.#table,
      calls,
      self: () => this.#self.entry,
      absorb: (entries, origin) => this.merge(entries, origin),
      accuse: (peerId, version, by) => this.#accused(peerId, version, by),
      heard: (peerId) => this.heard(peerId),
      calledDead: (version) => this.#self.calledDead(version),
      look: (peerId) => this.#probes.look(peerId),
      differs: (peerId) => this.#comparisons.differs(peerId),
      signal: this.#stopping.signal,
    });
    this.#comparisons = new RosterComparisons({
      table: this.#table,
      timers,
      random,
      schedule: this.#schedule,
      logger,
      exchange: (other) => this.exchangeWith(other),
      onFailed: (peerId) => this.#probes.look(peerId),
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
    this.#rounds = new RosterRounds({
      selfId: self.peerId,
      table: this.#table,
      schedule: this.#schedule,
      random,
      look: (peerId) => this.#probes.look(peerId),
      compare: (peerId) => this.#comparisons.soon(peerId, 0),
    });
  }

  get self(): Member {
    return this.#self.entry.member;
  }

  /** This agent's own entry, for hellos. */
  get signedSelf(): SignedMember {
    return this.#self.entry.signed;
  }

  get changedAtMs(): number {
    return this.#table.changedAtMs;
  }

  /** Answers POST /windlass/v1/roster. */
  readonly handleRoster: CallHandler = (from, body) => this.#exchange.handle(from, body);

  start(): void {
    this.#unsubscribe = this.#options.news.subscribe((bytes) => this.#read(bytes));
    this.#news.tell(this.#self.entry);
    this.#rounds.start();
  }

  stop(): void {
    this.#stopping.abort();
    this.#unsubscribe?.();
    this.#schedule.stop();
    this.#probes.stop();
    this.#news.stop();
  }

  members(): readonly Member[] {
    return this.#table.members();
  }

  get(peerId: PeerId): Member | undefined {
    return this.#table.get(peerId);
  }

  /** Who left, or was found dead, within the last hour and has not come back. For people. */
  gone(): readonly { readonly member: Member; readonly state: 'left' | 'dead'; readonly goneMs: number }[] {
    const nowMs = this.#options.timers.now();
    return this.#table.gone().flatMap(({ entry: { member }, state, sinceMs }) => {
      return state === 'live' ? [] : [{ member, state, goneMs: nowMs - sinceMs }];
    });
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
      if (!this.#take(entries.slice(at, at + SLICE), from)) return;
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
    if (!this.#stopping.signal.aborted) this.#self.renew(change);
  }

  /** Tells all that this agent goes down in order: from now on nobody names it as a keeper, itself included. */
  async leave(): Promise<void> {
    if (this.self.leaving) return;
    this.#self.renew({ leaving: true });
    this.#news.flush();
    const heirs = this.#table.closest(this.self.peerId, KEEPERS);
    await Promise.allSettled(heirs.map((heir) => this.#exchange.give(heir, [this.#self.entry.signed])));
  }

  /** @returns false: one was forged. Whoever passes entries on has checked them: the rest is not looked at. */
  #take(entries: readonly SignedMember[], from: PeerId | undefined): boolean {
    let forged = false;
    const joined: Member[] = [];
    const hearsay: PeerId[] = [];
    const left: { readonly member: Member; readonly leaving: boolean }[] = [];
    for (const signed of entries) {
      const entry = readMember(signed);
      if (entry === undefined) continue;
      const { peerId } = entry.member;
      const firstHand = peerId === from;
      if (!this.#table.wants(entry, firstHand)) continue;
      forged = !isGenuine(entry, this.#options.verify);
      if (forged) break;
      if (peerId === this.self.peerId) {
        this.#self.outrun(entry.member);
        continue;
      }
      if (!canTalk(entry.member.wireVersion, this.self.wireVersion)) {
        left.push(...this.#refuse(entry.member));
        continue;
      }
      const change = this.#table.take(entry, firstHand);
      this.#probes.refuted(peerId);
      joined.push(...change.joined);
      left.push(...change.left);
      if (change.joined.length === 0) continue;
      if (!firstHand) hearsay.push(peerId);
      else {
        // Its own news may not have got far: it came but now.
        this.#news.tell(entry);
        this.#comparisons.soon(peerId, NEWCOMER_MS);
      }
    }
    this.#rounds.heardOf(hearsay);
    this.#emit({ joined, left });
    return !forged;
  }

  /** It cannot be understood: no member, and none any more where an earlier version of it was one. */
  #refuse({ peerId, nodeName, wireVersion }: Member): RosterChange['left'] {
    if (this.#refused.get(peerId) !== wireVersion) {
      this.#refused.set(peerId, wireVersion);
      const fields = { peer: nodeName, peerId, wireVersion, own: this.self.wireVersion };
      this.#options.logger.warn(fields, 'an agent is left out: its wire version is too far from ours');
    }
    const known = this.#table.find(peerId)?.entry.member;
    return known === undefined ? [] : this.#table.die(peerId, known).left;
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
    if (peerId !== this.self.peerId) {
      this.#probes.accuse(peerId, version, by);
      return;
    }
    // It shall hear of us, and look whether it reaches us: only who can be reached is back.
    this.#self.doubted(version, by);
    this.#probes.look(by);
  }

  #renewed(entry: MemberEntry): void {
    const change = this.#table.take(entry, true);
    this.#news.tell(entry);
    this.#emit(change);
  }

  #died(peerId: PeerId, version: MemberVersion, tell: boolean): void {
    const change = this.#table.die(peerId, version);
    if (change.left.length > 0 && tell) this.#news.tellDead([peerId, version.incarnation, version.sequence]);
    this.#emit(change);
  }

  #emit(change: RosterChange): void {
    if (change.joined.length === 0 && change.left.length === 0) return;
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (err) {
        this.#options.logger.error({ err }, 'a listener to the roster failed');
      }
    }
  }
}
