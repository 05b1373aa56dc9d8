import pino from 'pino';
import { WindlassError } from '../../src/errors.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { type ClaimsParts, createClaims } from '../../src/pull/claims/create-claims.ts';
import type { HolderIndex, LastKnown } from '../../src/routing/holder-index.ts';
import { type Member, type PeerId, WIRE_VERSION } from '../../src/routing/member.ts';
import type { PeerCalls } from '../../src/routing/peer-calls.ts';
import { EventQueue, seeded, ticking } from './event-queue.ts';
import { SimRoster } from './sim-roster.ts';

/** How long it takes at most until all have heard that somebody is dead. */
const DEATH_NEWS_MS = 1_000;

// One for all: making one takes longer than a whole run.
const metrics = new Metrics();
const logger = pino({ level: 'silent' });

export interface NetworkOptions {
  readonly seed?: number;
  /** One way, in ms: at least, and at random on top. */
  readonly delayMs?: number;
  readonly jitterMs?: number;
  /** How long news of members take at most. */
  readonly newsMs?: number;
  /** How long it takes to find out that whoever did not answer is gone, or out of reach; others then hear of it. */
  readonly suspectMs?: number;
  /** What a call costs the one who answers, which does one after the other. */
  readonly handlingMs?: number;
  /** What an agent of that name knows of its own uplink; 0: nothing. */
  readonly uplink?: (name: string) => number;
  /** Does its uplink not carry what it gets? */
  readonly isStrained?: (name: string) => boolean;
}

/** Its seconds may be longer than ours, and it began to count elsewhere. */
export interface Clock {
  readonly rate: number;
  readonly offsetMs: number;
}

/** One agent: the real claims code over a roster of its own, by a clock of its own. */
export interface SimAgent {
  readonly name: string;
  readonly member: Member;
  readonly roster: SimRoster;
  readonly parts: ClaimsParts;
  alive: boolean;
  /** Nothing happens in it before: a suspended machine. */
  suspendedUntilMs: number;
  /** Calls that it answered, and the longest that one waited for its turn. */
  handled: number;
  longestMs: number;
  busyUntilMs: number;
}

/**
 * Agents of the real Keeper and Claimer, with everything around them simulated: time, delays, lost messages,
 * partitions, deaths, restarts, clocks that go wrong, news of members that travel at different speeds.
 */
export class ClaimsNetwork {
  readonly queue = new EventQueue();
  readonly random: () => number;
  /** The one that is, of each name. */
  readonly agents = new Map<string, SimAgent>();
  /** Share of the messages that are lost. */
  loss = 0;
  /** Names on one side; the others are on the other one. */
  #side: ReadonlySet<string> | undefined;
  /** `a>b`: what a sends to b is swallowed. */
  readonly cut = new Set<string>();
  /** Types of messages that get lost, all of them. */
  readonly swallowed = new Set<string>();
  readonly #options: Required<Omit<NetworkOptions, 'seed'>>;
  #incarnations = 0;
  /** Calls by `path type`. */
  readonly calls = new Map<string, number>();

  constructor({
    seed = 1,
    delayMs = 1,
    jitterMs = 2,
    newsMs = 1_000,
    suspectMs = 0,
    handlingMs = 0,
    uplink = () => 0,
    isStrained = () => false,
  }: NetworkOptions = {}) {
    this.random = seeded(seed);
    this.#options = { delayMs, jitterMs, newsMs, suspectMs, handlingMs, uplink, isStrained };
  }

  /** Starts agents that know each other. */
  start(
    names: readonly string[],
    zoneOf: (name: string) => string = () => '',
    clockOf: (name: string) => Clock = () => ({ rate: 1, offsetMs: 0 }),
  ): SimAgent[] {
    const members = names.map((name) => this.#member(name, zoneOf(name)));
    return members.map((member) => this.#agent(member, members, clockOf(member.nodeName)));
  }

  /** A new life of an agent, or a new agent; the others hear of it one after the other. */
  restart(name: string, clock: Clock = { rate: 1, offsetMs: 0 }): SimAgent {
    const before = this.agents.get(name);
    if (before?.alive) this.kill(name);
    const member = this.#member(name, before?.member.zone ?? '');
    const agent = this.#agent(member, [...this.#members(), member], clock);
    this.#tellAll();
    return agent;
  }

  kill(name: string): void {
    const agent = this.get(name);
    agent.alive = false;
    this.#tellAll();
  }

  get(name: string): SimAgent {
    const agent = this.agents.get(name);
    if (agent === undefined) throw new Error(`no agent ${name}`);
    return agent;
  }

  byPeerId(peerId: PeerId): SimAgent | undefined {
    return this.agents.get(nameOf(peerId));
  }

  alive(): SimAgent[] {
    return [...this.agents.values()].filter((agent) => agent.alive);
  }

  partition(side: Iterable<string>): void {
    this.#side = new Set(side);
    this.#tellAll();
  }

  heal(): void {
    this.#side = undefined;
    this.cut.clear();
    this.loss = 0;
    this.#tellAll();
  }

  get isPartitioned(): boolean {
    return this.#side !== undefined;
  }

  suspend(name: string, ms: number): void {
    const agent = this.get(name);
    agent.suspendedUntilMs = Math.max(agent.suspendedUntilMs, this.queue.now() + ms);
  }

  reaches(from: string, to: string): boolean {
    if (this.cut.has(`${from}>${to}`)) return false;
    return this.#side === undefined || this.#side.has(from) === this.#side.has(to);
  }

  isSuspended(agent: SimAgent): boolean {
    return agent.suspendedUntilMs > this.queue.now();
  }

  /** The name of the agent that keeps the key, by what is so. */
  keeperOf(key: string): string {
    const [any] = this.alive();
    if (any === undefined) throw new Error('nobody is alive');
    const roster = new SimRoster(any.member, this.#members(), { timers: this.queue, onSuspect: () => {} });
    return nameOf(roster.keepers(key, 1)[0]?.peerId ?? '');
  }

  /** Does everybody alive have the right list of members? */
  get agrees(): boolean {
    const members = this.#members();
    return this.alive().every(
      ({ roster }) =>
        roster.members().length === members.length &&
        members.every(({ peerId, incarnation }) => roster.get(peerId)?.incarnation === incarnation),
    );
  }

  #members(): Member[] {
    return this.alive().map(({ member }) => member);
  }

  #member(name: string, zone: string): Member {
    this.#incarnations += 1;
    return {
      peerId: peerIdOf(name),
      incarnation: this.#incarnations,
      sequence: 1,
      nodeName: name,
      zone,
      dataAddress: `${name}:5051`,
      p2pAddresses: [],
      wireVersion: WIRE_VERSION,
      leaving: false,
    };
  }

  #agent(member: Member, members: readonly Member[], clock: Clock): SimAgent {
    const name = member.nodeName;
    const timers = ticking({
      now: () => clock.offsetMs + this.queue.now() * clock.rate,
      after: (ms, call) => this.queue.after(ms / clock.rate, () => this.#within(agent, call)),
    });
    const onSuspect = (peerId: PeerId) => this.#onSuspect(agent, peerId);
    const roster = new SimRoster(member, members, { timers, onSuspect });
    const parts = createClaims({
      roster,
      calls: this.#callsOf(name, member.incarnation),
      index: new PlainIndex((peerId) => roster.isLive(peerId)),
      timers,
      logger,
      metrics,
      uplink: () => this.#options.uplink(name) || undefined,
      isStrained: () => this.#options.isStrained(name),
    });
    const agent: SimAgent = {
      name,
      member,
      roster,
      parts,
      alive: true,
      suspendedUntilMs: 0,
      handled: 0,
      longestMs: 0,
      busyUntilMs: 0,
    };
    this.agents.set(name, agent);
    return agent;
  }

  /** In the agent's own time: never once it is dead, later where it is suspended. */
  #within(agent: SimAgent, call: () => void): void {
    if (!agent.alive) return;
    const restMs = agent.suspendedUntilMs - this.queue.now();
    if (restMs > 0) this.queue.after(restMs, () => this.#within(agent, call));
    else call();
  }

  #callsOf(from: string, incarnation: number): PeerCalls {
    return {
      call: (to, path, body, { signal, timeoutMs }) =>
        new Promise((resolve, reject) => {
          const caller = () => {
            const agent = this.agents.get(from);
            return agent?.alive && agent.member.incarnation === incarnation ? agent : undefined;
          };
          const handling = new AbortController();
          const settle = (how: () => void) => {
            cancel();
            signal.removeEventListener('abort', leave);
            const agent = caller();
            if (agent !== undefined) this.#within(agent, how);
          };
          const leave = () => {
            handling.abort(signal.reason);
            settle(() => reject(signal.reason));
          };
          const cancel = this.queue.after(timeoutMs, () => {
            handling.abort(new Error('timed out'));
            settle(() => reject(new WindlassError('PEER_SILENT', 'no answer')));
          });
          signal.addEventListener('abort', leave, { once: true });
          const name = typeof to === 'string' ? to : to.nodeName;
          const what = JSON.stringify(body);
          this.#count(path, body);
          if (this.swallowed.has(typeOf(body))) return;
          this.#send(from, name, () => {
            const callee = this.agents.get(name);
            if (!callee?.alive) {
              this.#send(name, from, () => settle(() => reject(new WindlassError('PEER_GONE', 'refused'))), true);
              return;
            }
            this.#queueAt(callee, () => {
              callee.parts.handleClaims(peerIdOf(from), JSON.parse(what), handling.signal).then(
                (answer) => {
                  const text = JSON.stringify(answer);
                  this.#reply(callee, from, () => settle(() => resolve(JSON.parse(text))));
                },
                (error) => this.#reply(callee, from, () => settle(() => reject(error))),
              );
            });
          });
        }),
    };
  }

  #reply(callee: SimAgent, to: string, deliver: () => void): void {
    if (callee.alive) this.#send(callee.name, to, deliver);
  }

  /** One call after the other, each so long. */
  #queueAt(callee: SimAgent, call: () => void): void {
    const nowMs = this.queue.now();
    const startMs = Math.max(nowMs, callee.busyUntilMs);
    callee.busyUntilMs = startMs + this.#options.handlingMs;
    callee.handled += 1;
    callee.longestMs = Math.max(callee.longestMs, startMs - nowMs);
    if (this.#options.handlingMs === 0) this.#within(callee, call);
    else this.queue.after(callee.busyUntilMs - nowMs, () => this.#within(callee, call));
  }

  #send(from: string, to: string, deliver: () => void, refusal = false): void {
    if (!this.reaches(from, to)) return;
    if (!refusal && this.loss > 0 && this.random() < this.loss) return;
    this.queue.after(this.#options.delayMs + this.random() * this.#options.jitterMs, () => {
      if (this.reaches(from, to)) deliver();
    });
  }

  #count(path: string, body: unknown): void {
    const type = typeOf(body);
    this.calls.set(`${path} ${type}`, (this.calls.get(`${path} ${type}`) ?? 0) + 1);
  }

  /** What is so reaches everybody, each at another time. */
  #tellAll(): void {
    for (const { name } of this.alive()) {
      this.queue.after(this.random() * this.#options.newsMs, () => {
        const agent = this.agents.get(name);
        if (agent?.alive) this.#tell(agent);
      });
    }
  }

  #tell(agent: SimAgent): void {
    agent.roster.set(this.alive().flatMap(({ name, member }) => (this.reaches(agent.name, name) ? [member] : [])));
  }

  /** A roster finds out by a call that failed. */
  #onSuspect(agent: SimAgent, peerId: PeerId): void {
    const other = this.byPeerId(peerId);
    if (other?.alive && this.reaches(agent.name, other.name)) return;
    const { suspectMs } = this.#options;
    this.queue.after(suspectMs, () => {
      this.#drop(agent, peerId);
      if (suspectMs === 0) return;
      for (const { name } of this.alive()) {
        if (!this.reaches(agent.name, name)) continue;
        this.queue.after(this.random() * DEATH_NEWS_MS, () => this.#drop(this.get(name), peerId));
      }
    });
  }

  #drop(agent: SimAgent, peerId: PeerId): void {
    const other = this.byPeerId(peerId);
    if (!agent.alive || (other?.alive && this.reaches(agent.name, other.name))) return;
    agent.roster.set(agent.roster.members().filter((member) => member.peerId !== peerId));
  }
}

/** KeeperIndex without its bounds: those cost more to set up than a whole run. */
class PlainIndex implements HolderIndex {
  readonly #holders = new Map<string, Set<PeerId>>();
  readonly #tags = new Map<string, LastKnown>();
  readonly #isLive: (peerId: PeerId) => boolean;

  constructor(isLive: (peerId: PeerId) => boolean) {
    this.#isLive = isLive;
  }

  holders(key: string): PeerId[] {
    return [...(this.#holders.get(key) ?? [])].filter(this.#isLive);
  }

  add(key: string, peerId: PeerId): void {
    const holders = this.#holders.get(key) ?? new Set();
    this.#holders.set(key, holders.add(peerId));
  }

  addByHearsay(key: string, peerId: PeerId): void {
    this.add(key, peerId);
  }

  remove(key: string, peerId: PeerId): void {
    this.#holders.get(key)?.delete(peerId);
  }

  lastKnown(key: string): LastKnown | undefined {
    return this.#tags.get(key);
  }

  setLastKnown(key: string, record: LastKnown): boolean {
    this.#tags.set(key, record);
    return true;
  }

  forget(key: string): void {
    this.#holders.delete(key);
    this.#tags.delete(key);
  }
}

function typeOf(body: unknown): string {
  return typeof body === 'object' && body !== null && 'type' in body ? String(body.type) : '';
}

export function peerIdOf(name: string): PeerId {
  return `12D3KooW-${name}`;
}

export function nameOf(peerId: PeerId): string {
  return peerId.slice('12D3KooW-'.length);
}
