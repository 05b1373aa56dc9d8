import { type AgentOptions, AgentProcess } from './agent-process.ts';
import { Containerd, type ContainerdOptions } from './containerd.ts';
import type { ContainerdBinaries } from './containerd-binaries.ts';
import { writeHostsToml } from './hosts-toml.ts';
import { RealRegistry } from './real-registry.ts';
import { Scratch } from './scratch.ts';
import { TcpProxy } from './tcp-proxy.ts';

export interface NodeStageOptions {
  readonly containerd?: Omit<ContainerdOptions, 'hostsDir'>;
  readonly agent?: AgentOptions;
}

/**
 * One node, as real as it gets: a registry that plays docker.io, an agent before it, and a containerd whose
 * hosts.toml names the agent first and the registry last.
 *
 * ```
 *  containerd ──▶ agent ──▶ uplink (TcpProxy) ──▶ registry
 *       └───────── if the agent fails ──────────────▲
 * ```
 */
export class NodeStage {
  readonly scratch: Scratch;
  readonly registry: RealRegistry;
  /** Between agent and registry alone: what containerd asks the registry itself does not pass it. */
  readonly uplink: TcpProxy;
  readonly agent: AgentProcess;
  readonly containerd: Containerd;

  private constructor(
    scratch: Scratch,
    registry: RealRegistry,
    uplink: TcpProxy,
    agent: AgentProcess,
    containerd: Containerd,
  ) {
    this.scratch = scratch;
    this.registry = registry;
    this.uplink = uplink;
    this.agent = agent;
    this.containerd = containerd;
  }

  static async start(binaries: ContainerdBinaries, options: NodeStageOptions = {}): Promise<NodeStage> {
    const scratch = await Scratch.create();
    try {
      const registry = await RealRegistry.start(scratch);
      const uplink = await TcpProxy.start(scratch, { port: registry.port });
      const agent = await AgentProcess.start(scratch, { registries: { 'docker.io': uplink.url }, ...options.agent });
      const hostsDir = await writeHostsToml(scratch.join('certs.d'), {
        registry: 'docker.io',
        mirrors: [agent.mirrorUrl],
        server: registry.url,
      });
      const containerd = await Containerd.start(scratch, binaries, { ...options.containerd, hostsDir });
      return new NodeStage(scratch, registry, uplink, agent, containerd);
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }
}
