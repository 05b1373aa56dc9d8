import pino from 'pino';
import { KeeperIndex } from '../../src/routing/keeper-index.ts';
import type { KnownTag } from '../../src/routing/kept.ts';
import { Libp2pRouter, type News } from '../../src/routing/libp2p-router.ts';
import { type Member, WIRE_VERSION } from '../../src/routing/member.ts';
import { MemoryRoster } from '../../src/routing/memory-roster.ts';
import { systemTimers } from '../../src/time/timers.ts';
import { MemoryCalls } from './memory-calls.ts';

export interface IndexAgent {
  readonly member: Member;
  readonly roster: MemoryRoster;
  readonly index: KeeperIndex;
  readonly router: Libp2pRouter;
}

/** Agents with a real index and router each, in one process; whether news travel is the test's choice. */
export class IndexCluster {
  readonly calls = new MemoryCalls();
  readonly agents = new Map<string, IndexAgent>();
  readonly #gossips: boolean;
  readonly #hearers = new Map<string, (bytes: Uint8Array, from: string) => void>();
  /** What a DHT would know: nobody else is asked. */
  readonly provided = new Map<string, Set<string>>();

  constructor(options: { readonly gossips: boolean }) {
    this.#gossips = options.gossips;
  }

  /** Starts an agent that everybody knows at once. */
  async add(
    name: string,
    held: readonly string[] = [],
    options: { readonly incarnation?: number; readonly tags?: readonly KnownTag[] } = {},
  ): Promise<IndexAgent> {
    const member: Member = {
      peerId: name,
      incarnation: options.incarnation ?? 1,
      sequence: 1,
      nodeName: name,
      zone: '',
      dataAddress: `${name}:5051`,
      p2pAddresses: [],
      wireVersion: WIRE_VERSION,
      leaving: false,
    };
    const others = [...this.agents.values()].map((agent) => agent.member);
    const roster = new MemoryRoster(member, others, { timers: systemTimers });
    const index = new KeeperIndex({ isLive: (peerId) => roster.isLive(peerId), timers: systemTimers });
    const calls = this.calls.join(name, { index: (from, body) => router.handle(from, body) });
    const router = new Libp2pRouter({
      roster,
      index,
      calls,
      timers: systemTimers,
      news: this.#news(name),
      dht: {
        provide: (digest) => {
          this.provided.set(digest, (this.provided.get(digest) ?? new Set()).add(name));
        },
        withdraw: (digest) => {
          this.provided.get(digest)?.delete(name);
        },
        findProviders: async (digest) => [...(this.provided.get(digest) ?? [])],
      },
      tags: async () => options.tags ?? [],
      logger: pino({ level: 'silent' }),
      announceMs: 50,
    });
    const agent = { member, roster, index, router };
    this.agents.set(name, agent);
    this.#tellMembers();
    await router.start(held);
    return agent;
  }

  /** In order: it hands over what it keeps. */
  async leave(name: string, signal = AbortSignal.timeout(5_000)): Promise<void> {
    const agent = this.#take(name);
    this.#tellMembers(agent.member);
    // As a LiveRoster does: nobody names it, itself included.
    agent.roster.set([...[...this.agents.values()].map(({ member }) => member), { ...agent.member, leaving: true }]);
    await agent.router.stop(signal);
    this.calls.leave(name);
  }

  /** Without a word. */
  die(name: string): void {
    this.#take(name);
    this.calls.leave(name);
    this.#tellMembers();
  }

  #take(name: string): IndexAgent {
    const agent = this.agents.get(name);
    if (agent === undefined) throw new Error(`no agent ${name}`);
    this.agents.delete(name);
    this.#hearers.delete(name);
    return agent;
  }

  #tellMembers(leaving?: Member): void {
    const members = [...this.agents.values()].map(({ member }) => member);
    if (leaving !== undefined) members.push({ ...leaving, leaving: true });
    for (const { roster } of this.agents.values()) roster.set(members);
  }

  #news(name: string): News {
    return {
      publish: (bytes) => {
        if (!this.#gossips) return;
        for (const [other, hear] of this.#hearers) if (other !== name) hear(bytes, name);
      },
      subscribe: (listener) => {
        this.#hearers.set(name, listener);
        return () => this.#hearers.delete(name);
      },
    };
  }
}
