import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { freePorts } from '../../src/demo/free-ports.ts';
import { type AgentOptions, AgentProcess } from './agent-process.ts';
import { eventually } from './eventually.ts';
import type { Scratch } from './scratch.ts';

/** Settings by section; a list, as `registries` is, takes the place of what was there. */
type Sections = Readonly<Record<string, Readonly<Record<string, unknown>> | readonly object[]>>;

export interface ClusterOptions extends Pick<AgentOptions, 'gossip'> {
  readonly agents: number;
  /** What they speak to each other on loopback; by default IPv4. */
  readonly family?: 4 | 6;
  /** The allow-list: host → endpoint. */
  readonly registries: Readonly<Record<string, string>>;
  /** Of all agents, by section. */
  readonly settings?: Sections;
  /** Of one of them, laid over those. */
  readonly settingsOf?: (index: number) => Sections;
}

/** Agents on loopback, each a process, that find each other by a static list and share a secret. */
export class AgentCluster {
  readonly agents: AgentProcess[] = [];
  readonly secretFile: string;
  readonly #scratch: Scratch;
  readonly #options: ClusterOptions;
  readonly #p2pPorts: number[] = [];

  private constructor(scratch: Scratch, options: ClusterOptions, secretFile: string) {
    this.#scratch = scratch;
    this.#options = options;
    this.secretFile = secretFile;
  }

  /** Starts them, and waits until each knows all the others. */
  static async start(scratch: Scratch, options: ClusterOptions): Promise<AgentCluster> {
    const secretFile = scratch.join(`secret-${randomBytes(4).toString('hex')}`);
    await writeFile(secretFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const cluster = new AgentCluster(scratch, options, secretFile);
    cluster.#p2pPorts.push(...(await freePorts(options.agents)));
    await Promise.all(Array.from({ length: options.agents }, (_, index) => cluster.#start(index)));
    await cluster.settled();
    return cluster;
  }

  /** One more, which knows the address of the first. */
  async add(settings: Sections = {}): Promise<AgentProcess> {
    this.#p2pPorts.push(...(await freePorts(1)));
    return this.#start(this.#p2pPorts.length - 1, settings);
  }

  agent(index: number): AgentProcess {
    const agent = this.agents[index];
    if (agent === undefined) throw new RangeError(`no agent ${index}`);
    return agent;
  }

  /** Resolves when each of those that run knows as many others. */
  async settled(others = this.agents.length - 1, among: readonly AgentProcess[] = this.agents): Promise<void> {
    for (const agent of among) {
      await eventually(async () => (await agent.metric('windlass_peers')) === others, {
        timeoutMs: 120_000,
        what: () => `an agent to know ${others} others; it said:\n${agent.daemon.tail()}`,
      });
    }
  }

  /** The sum over the agents that run. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const running = this.agents.filter(({ daemon }) => !daemon.ended);
    const values = await Promise.all(running.map((agent) => agent.metric(name, labels)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  async #start(index: number, more: Sections = {}): Promise<AgentProcess> {
    const { registries, settings = {}, settingsOf, family = 4, gossip } = this.#options;
    const [host, multiaddr] = family === 4 ? ['127.0.0.1', '/ip4/127.0.0.1'] : ['[::1]', '/ip6/::1'];
    const sections: Record<string, Sections[string]> = {
      node: { name: `node-${index}` },
      cluster: { secretFile: [this.secretFile] },
      p2p: { listen: [`${multiaddr}/tcp/${this.#p2pPorts[index]}`] },
      discovery: { kind: 'static', peers: this.#p2pPorts.slice(0, 3).map((port) => `${host}:${port}`) },
      ...(family === 4 ? {} : { peer: { listen: `${host}:${(await freePorts(1))[0]}` } }),
    };
    for (const layer of [settings, settingsOf?.(index) ?? {}, more]) {
      for (const [name, section] of Object.entries(layer)) {
        sections[name] = Array.isArray(section) ? section : { ...sections[name], ...section };
      }
    }
    const agent = await AgentProcess.start(this.#scratch, {
      registries,
      settings: sections,
      ...(gossip === undefined ? {} : { gossip }),
    });
    this.agents[index] = agent;
    return agent;
  }
}
