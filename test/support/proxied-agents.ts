import { freePorts } from '../../src/demo/free-ports.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { TransferStatus } from '../../src/status/agent-status.ts';
import { readStatus } from '../../src/status/status-client.ts';
import { AgentCluster, type ClusterOptions } from './agent-cluster.ts';
import { eventually } from './eventually.ts';
import type { RealRegistry } from './real-registry.ts';
import type { Scratch } from './scratch.ts';
import { TcpProxy } from './tcp-proxy.ts';

export interface ProxiedAgentsOptions extends Pick<ClusterOptions, 'agents' | 'settings'> {
  /** One way, between agents. */
  readonly latencyMs?: number;
}

/** An agent's place in the tree of a blob that is under way. */
export interface Place extends TransferStatus {
  readonly agent: number;
  readonly role: 'writer' | 'relay' | 'leaf';
}

/**
 * Agents that reach each other only through proxies: each tells the others, instead of its two ports, those of proxies
 * of its own. One more stands between all of them and the registry, which is docker.io to them.
 *
 * ```
 *                  ┌─▶ data[0] ─▶ ┌─────────┐
 *   other agents ──┤              │ agent 0 │──▶ uplink ──▶ registry
 *                  └─▶ p2p[0] ──▶ └─────────┘
 * ```
 */
export class ProxiedAgents {
  readonly cluster: AgentCluster;
  readonly data: readonly TcpProxy[];
  readonly p2p: readonly TcpProxy[];
  readonly uplink: TcpProxy;

  private constructor(cluster: AgentCluster, data: readonly TcpProxy[], p2p: readonly TcpProxy[], uplink: TcpProxy) {
    this.cluster = cluster;
    this.data = data;
    this.p2p = p2p;
    this.uplink = uplink;
  }

  static async start(scratch: Scratch, registry: RealRegistry, options: ProxiedAgentsOptions): Promise<ProxiedAgents> {
    const { agents, settings = {}, latencyMs = 0 } = options;
    const ports = await freePorts(2 * agents);
    const proxies = await Promise.all(ports.map((port) => TcpProxy.start(scratch, { port })));
    for (const proxy of proxies) proxy.latencyMs = latencyMs;
    const uplink = await TcpProxy.start(scratch, { port: registry.port });
    const [data, p2p] = [proxies.slice(0, agents), proxies.slice(agents)];
    const cluster = await AgentCluster.start(scratch, {
      agents,
      registries: { 'docker.io': uplink.url },
      settings,
      settingsOf: (index) => ({
        peer: { ...settings.peer, listen: `127.0.0.1:${ports[index]}`, announce: `127.0.0.1:${data[index]?.port}` },
        p2p: {
          listen: [`/ip4/127.0.0.1/tcp/${ports[agents + index]}`],
          announce: [`/ip4/127.0.0.1/tcp/${p2p[index]?.port}`],
        },
        discovery: { kind: 'static', peers: p2p.slice(0, 3).map(({ port }) => `127.0.0.1:${port}`) },
      }),
    });
    return new ProxiedAgents(cluster, data, p2p, uplink);
  }

  /** Resolves when each of these agents has so much of the blob, and has not finished it. */
  async underWay(digest: Digest, bytes: number, of: readonly number[]): Promise<Place[]> {
    return Promise.all(
      of.map((agent) =>
        eventually(() => this.#placeOf(agent, digest, bytes), { what: `agent ${agent} to have ${bytes} bytes` }),
      ),
    );
  }

  /** Nothing is broken, slowed or held up any more. */
  mend(): void {
    for (const proxy of [...this.data, ...this.p2p, this.uplink]) {
      proxy.rateBytesPerSecond = undefined;
      proxy.resume();
    }
  }

  async #placeOf(agent: number, digest: Digest, bytes: number): Promise<Place | undefined> {
    const status = await readStatus(this.cluster.agent(agent).statusUrl, AbortSignal.timeout(60_000));
    const transfer = status.transfers.find((one) => one.digest === digest);
    if (transfer === undefined || transfer.written < bytes) return undefined;
    const role = transfer.source === 'upstream' ? 'writer' : transfer.children > 0 ? 'relay' : 'leaf';
    return { ...transfer, agent, role };
  }
}
