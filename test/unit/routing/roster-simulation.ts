import { createHash, hash } from 'node:crypto';
import { pino } from 'pino';
import { NotAsked, WindlassError } from '../../../src/errors.ts';
import { LiveRoster, type SelfDescription } from '../../../src/routing/live-roster.ts';
import type { Member, PeerId } from '../../../src/routing/member.ts';
import type { Sign, Verify } from '../../../src/routing/member-entry.ts';
import type { CallPath, PeerCalls } from '../../../src/routing/peer-calls.ts';
import type { RosterChange } from '../../../src/routing/roster.ts';
import type { Timers } from '../../../src/time/timers.ts';

/** Time that passes when it is told to. */
export class SimulatedClock implements Timers {
  #nowMs = 0;
  #count = 0;
  /** A heap by time, then by order. */
  readonly #heap: { readonly atMs: number; readonly order: number; call: (() => void) | undefined }[] = [];

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, call: () => void): () => void {
    this.#count += 1;
    const event: { readonly atMs: number; readonly order: number; call: (() => void) | undefined } = {
      atMs: this.#nowMs + Math.max(0, ms),
      order: this.#count,
      call,
    };
    this.#push(event);
    return () => {
      event.call = undefined;
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Runs what is due within `ms`, promises included, in a fixed order. */
  async run(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      // All promises that can go on have gone on when this one is over.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      if (next.call === undefined) continue;
      this.#nowMs = next.atMs;
      next.call();
    }
    this.#nowMs = untilMs;
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return false;
    return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return;
    this.#heap[a] = other;
    this.#heap[b] = one;
  }

  #push(event: { readonly atMs: number; readonly order: number; call: (() => void) | undefined }): void {
    let at = this.#heap.push(event) - 1;
    for (; at > 0 && this.#before(at, (at - 1) >> 1); at = (at - 1) >> 1) this.#swap(at, (at - 1) >> 1);
  }

  #pop(): void {
    this.#swap(0, this.#heap.length - 1);
    this.#heap.pop();
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (this.#before(child, least)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }
}

/** A generator of numbers from 0 to below 1 (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Signatures that cost nothing: a hash over who signs what. Nobody in the simulation forges them. */
export const simulatedSign =
  (peerId: PeerId): Sign =>
  (bytes) =>
    createHash('sha256').update(peerId).update(bytes).digest();
export const simulatedVerify: Verify = (peerId, bytes, signature) =>
  Buffer.from(simulatedSign(peerId)(bytes)).equals(Buffer.from(signature));

export function simulatedPeerId(number: number): PeerId {
  return `12D3KooW${hash('sha256', `agent ${number}`).slice(0, 44)}`;
}

export function describeAgent(number: number, incarnation = 1): SelfDescription {
  return {
    peerId: simulatedPeerId(number),
    incarnation,
    nodeName: `node-${number}`,
    zone: `zone-${number % 3}`,
    dataAddress: `10.0.0.${number}:5051`,
    p2pAddresses: [`/ip4/10.0.0.${number}/tcp/5052`],
  };
}

export interface SimulatedAgent {
  readonly number: number;
  readonly roster: LiveRoster;
  readonly changes: RosterChange[];
  readonly hear: Set<(bytes: Uint8Array) => void>;
}

/**
 * Agents' rosters on a network of their own: calls take some ms; a dead process refuses them, a dead host and a
 * partition swallow them; news gets lost.
 */
export class RosterSimulation {
  readonly clock = new SimulatedClock();
  readonly random: () => number;
  /** By number; those that run. */
  readonly agents = new Map<number, SimulatedAgent>();
  /** Share of news that is lost, for each that it would reach. */
  newsLoss = 0;
  /** Calls made, by `type` of the body. */
  readonly calls = new Map<string, number>();
  /** The side of a partition, by agent; no entry is side 0. */
  readonly sides = new Map<number, number>();
  /** Pairs `from>to` of which the one cannot call the other. */
  readonly cut = new Set<string>();
  /** Whose host is gone: calls to it are swallowed, not refused. */
  readonly silent = new Set<number>();
  /** Who has no sockets left, and makes no call. */
  readonly starved = new Set<number>();
  /** Answers instead of the roster's, for liars. */
  readonly lies = new Map<number, (body: unknown) => unknown>();
  newsSent = 0;
  /** Bytes of the largest. */
  largestNews = 0;

  readonly #verify: Verify;

  constructor(seed: number, { verify = simulatedVerify }: { readonly verify?: Verify } = {}) {
    this.random = randomOf(seed);
    this.#verify = verify;
  }

  /** A new process. */
  start(number: number, incarnation = 1): SimulatedAgent {
    const hear = new Set<(bytes: Uint8Array) => void>();
    const self = describeAgent(number, incarnation);
    const roster = new LiveRoster(self, {
      sign: simulatedSign(self.peerId),
      verify: this.#verify,
      calls: this.#callsOf(number),
      news: {
        publish: (bytes) => this.#publish(number, bytes),
        subscribe: (listener) => {
          hear.add(listener);
          return () => hear.delete(listener);
        },
      },
      timers: this.clock,
      random: this.random,
      logger: pino({ level: 'silent' }),
    });
    const agent: SimulatedAgent = { number, roster, changes: [], hear };
    roster.subscribe((change) => agent.changes.push(change));
    this.silent.delete(number);
    this.agents.set(number, agent);
    roster.start();
    return agent;
  }

  /** As kill -9 does; with `host`, as pulling its plug does. */
  kill(number: number, { host = false } = {}): void {
    this.agents.get(number)?.roster.stop();
    this.agents.delete(number);
    if (host) this.silent.add(number);
  }

  /** What the two say to each other when one dials the other. */
  async hello(one: number, other: number): Promise<void> {
    const [a, b] = [this.agents.get(one), this.agents.get(other)];
    if (a === undefined || b === undefined || !this.#reaches(one, other)) return;
    await Promise.all([
      a.roster.merge([b.roster.signedSelf], b.roster.self.peerId),
      b.roster.merge([a.roster.signedSelf], a.roster.self.peerId),
    ]);
  }

  /** Everybody has met everybody. */
  async settled(count: number): Promise<SimulatedAgent[]> {
    for (let number = 1; number <= count; number += 1) {
      this.start(number);
      for (let other = 1; other < number; other += 1) await this.hello(number, other);
    }
    await this.clock.run(70_000);
    return [...this.agents.values()];
  }

  /** Which agents this one thinks to be there. */
  seenBy(number: number): number[] {
    const members = this.agents.get(number)?.roster.members() ?? [];
    return members.map(({ nodeName }) => Number(nodeName.slice('node-'.length))).sort((a, b) => a - b);
  }

  #reaches(from: number, to: number): boolean {
    return (this.sides.get(from) ?? 0) === (this.sides.get(to) ?? 0) && !this.cut.has(`${from}>${to}`);
  }

  #latency(): number {
    return 1 + 4 * this.random();
  }

  #callsOf(from: number): PeerCalls {
    return {
      call: async (to: Member | string, _path: CallPath, body: unknown, { timeoutMs }): Promise<unknown> => {
        const address = typeof to === 'string' ? to : to.dataAddress;
        const number = Number(/^10\.0\.0\.(\d+):/.exec(address)?.[1]);
        const type = String((body as { type?: unknown }).type);
        this.calls.set(type, (this.calls.get(type) ?? 0) + 1);
        if (this.starved.has(from)) {
          throw new NotAsked('no connection can be made here');
        }
        const deadlineMs = this.clock.now() + timeoutMs;
        const silence = async () => {
          await this.clock.sleep(deadlineMs - this.clock.now());
          return new WindlassError('PEER_SILENT', `${address} does not answer`);
        };
        const text = JSON.stringify(body);
        await this.clock.sleep(this.#latency());
        if (!this.#reaches(from, number) || this.silent.has(number)) throw await silence();
        const agent = this.agents.get(number);
        if (agent === undefined) throw new WindlassError('PEER_GONE', `${address} refuses`);
        const lie = this.lies.get(number);
        const signal = new AbortController().signal;
        const answer = lie
          ? lie(JSON.parse(text))
          : await agent.roster.handleRoster(simulatedPeerId(from), JSON.parse(text), signal);
        await this.clock.sleep(this.#latency());
        if (this.agents.get(number) !== agent) throw new WindlassError('PEER_GONE', `${address} reset`);
        if (this.clock.now() > deadlineMs) throw await silence();
        return JSON.parse(JSON.stringify(answer));
      },
    };
  }

  #publish(from: number, bytes: Uint8Array): void {
    this.newsSent += 1;
    this.largestNews = Math.max(this.largestNews, bytes.length);
    for (const agent of this.agents.values()) {
      if (agent.number === from || !this.#reaches(from, agent.number) || this.random() < this.newsLoss) continue;
      this.clock.after(5 + 15 * this.random(), () => {
        if (this.agents.get(agent.number) === agent) for (const listener of agent.hear) listener(bytes);
      });
    }
  }
}
