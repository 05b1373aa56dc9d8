import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { KEEPERS } from '../../../src/routing/roster.ts';
import { cpuSeconds } from '../../bench/cpu-seconds.ts';
import { AgentProcess } from '../../support/agent-process.ts';
import { Containerd } from '../../support/containerd.ts';
import { type ContainerdBinaries, cacheFolder } from '../../support/containerd-binaries.ts';
import type { DnsServer } from '../../support/dns-server.ts';
import { eventually } from '../../support/eventually.ts';
import { writeHostsToml } from '../../support/hosts-toml.ts';
import { buildImage, type Image, type ImageOptions } from '../../support/image.ts';
import { Scratch } from '../../support/scratch.ts';
import { Gate } from './gate.ts';
import { LabNode, nameOf, type Reference } from './lab-node.ts';
import { LabRegistry } from './lab-registry.ts';
import { type Host, LabNetwork } from './network.ts';

/** What Linux lets a connection have, by default. */
const SEND_BUFFER_BYTES = 4 * 1024 * 1024;
/** Of all processors, what idle agents may take together, looked at for so long. */
const CALM_SHARE = 0.3;
const CALM_MS = 2_000;
/** The registry as images name it; through the gate, another name. */
const REGISTRY = 'lab.test';
export const GATED_REGISTRY = 'gate.test';
/** For containerd, without a mirror. */
const DIRECT = 'direct.test';
const CHUNK_BYTES = 1024 * 1024;

export interface LabOptions {
  readonly nodes: number;
  /** Of each node's link, both ways, in Mbit/s; undefined: as fast as it goes. */
  readonly nodeRate?: number;
  /**
   * Nodes' send buffers last as long as those of a link of 1 Gbit/s, 34 ms at most. Else they take megabytes, which at these
   * rates are seconds in which nobody sees that a link is full.
   */
  readonly scaledBuffers?: boolean;
  /** Of the registry's link. */
  readonly upstreamRate?: number;
  /** The first nodes get these, one each (undefined: none); the others pull by the plain client alone. */
  readonly containerds?: readonly (ContainerdBinaries | undefined)[];
  /** Of these nodes containerd 2.x fetches layers in chunks of 1 MiB, several at a time. */
  readonly inChunks?: (node: number) => boolean;
  /** Agents find each other (static discovery, a cluster secret); else each is alone. By default they do. */
  readonly swarm?: boolean;
  /** Laid over the lab's own, section by section: of one node, and where it is. */
  readonly settings?: (node: number, host: Host) => Sections;
  /** Agents resolve names by it, and by nobody else; the lab has it listen, and closes it. */
  readonly dns?: DnsServer;
  /** How many of the nodes' agents are started at first; the others by their `agent.start()`. By default all. */
  readonly agents?: number;
}

export interface LabImage {
  readonly image: Image;
  readonly byTag: Reference;
  readonly byDigest: Reference;
}

/** A cluster on one machine: see network.ts for the wires. Everything ends with `dispose`, and with this process. */
export class Lab {
  readonly scratch: Scratch;
  readonly network: LabNetwork;
  readonly registry: LabRegistry;
  readonly gate: Gate;
  readonly upstream: Host;
  readonly nodes: readonly LabNode[];
  #images = 0;

  private constructor(
    scratch: Scratch,
    network: LabNetwork,
    upstream: Host,
    registry: LabRegistry,
    gate: Gate,
    nodes: readonly LabNode[],
  ) {
    this.scratch = scratch;
    this.network = network;
    this.upstream = upstream;
    this.registry = registry;
    this.gate = gate;
    this.nodes = nodes;
  }

  static async start(options: LabOptions): Promise<Lab> {
    const scratch = await Scratch.create();
    try {
      const names = Array.from({ length: options.nodes }, (_, i) => `n${i}`);
      const network = await LabNetwork.create(scratch, ['upstream', ...names]);
      const [upstream, ...hosts] = network.hosts;
      if (upstream === undefined) throw new Error('no hosts');
      const registry = await LabRegistry.start(scratch, upstream);
      const gate = await Gate.start(scratch, network.outside, registry.registry.url);
      // What the access log calls sent would else be megabytes more than a client got that was killed.
      await network.boundSendBuffers(upstream, 512 * 1024);
      await network.limit(upstream, { up: options.upstreamRate, down: options.upstreamRate });
      for (const host of hosts) {
        await network.limit(host, { up: options.nodeRate, down: options.nodeRate });
        if (options.scaledBuffers === true && options.nodeRate !== undefined) {
          await network.boundSendBuffers(host, Math.ceil((SEND_BUFFER_BYTES * options.nodeRate) / 1000));
        }
      }
      const secretFile = scratch.join('cluster-secret');
      await writeFile(secretFile, randomBytes(32).toString('hex'));
      const registries = { [REGISTRY]: registry.url, [GATED_REGISTRY]: gate.url };
      const hostsDir = scratch.join('certs.d');
      for (const name of [REGISTRY, GATED_REGISTRY]) {
        await writeHostsToml(hostsDir, { registry: name, mirrors: ['http://127.0.0.1:5050'], server: registry.url });
      }
      await writeHostsToml(hostsDir, { registry: DIRECT, mirrors: [], server: registry.url });
      const peers = hosts.map(({ address }) => `${address}:5052`);
      const resolvConf = options.dns && (await serveNames(scratch, options.dns, network));
      const nodes = await Promise.all(
        hosts.map(async (host, i) => {
          const binaries = options.containerds?.[i];
          const { namespace } = host;
          const [agent, containerd] = await Promise.all([
            AgentProcess.start(scratch, {
              registries,
              settings: sections(
                {
                  node: { name: host.name },
                  log: { level: 'debug' },
                  store: { maxSize: '700MiB', minFree: '1%', scrubRate: '0' },
                  peer: { listen: `${host.address}:5051` },
                },
                options.swarm === false ? {} : swarmSettings(host, secretFile, peers),
                options.settings?.(i, host) ?? {},
              ),
              network: { namespace, address: host.outside, resolvConf },
              // Sixteen start at once on two cores.
              env: { NODE_COMPILE_CACHE: join(cacheFolder(), 'compiled') },
              started: i < (options.agents ?? options.nodes),
            }),
            binaries === undefined
              ? undefined
              : Containerd.start(scratch, binaries, {
                  hostsDir,
                  snapshotter: 'overlayfs',
                  namespace,
                  ...(options.inChunks?.(i) ? { fetchChunkBytes: CHUNK_BYTES } : {}),
                }),
          ]);
          return new LabNode(network, host, agent, containerd);
        }),
      );
      return new Lab(scratch, network, upstream, registry, gate, nodes);
    } catch (error) {
      await scratch.dispose().catch(() => {});
      throw error;
    }
  }

  node(i: number): LabNode {
    const node = this.nodes[i];
    if (node === undefined) throw new RangeError(`the lab has ${this.nodes.length} nodes, not ${i}`);
    return node;
  }

  /** An image that nobody has seen, in the registry. @param registry GATED_REGISTRY to have it asked through the gate */
  async image(options: ImageOptions, registry = REGISTRY): Promise<LabImage> {
    this.#images += 1;
    const image = buildImage({ seed: `lab ${this.#images}`, gzip: false, ...options });
    const repository = `library/i${this.#images}`;
    await this.registry.push(repository, 'v1', image);
    const of = (reference: string): Reference => ({ ns: registry, repository, reference });
    return { image, byTag: of('v1'), byDigest: of(image.top.digest) };
  }

  /** Bytes on the wire that have left upstream since the start. */
  async upstreamSent(): Promise<number> {
    return (await this.network.bytes()).get(this.upstream.name)?.sent ?? 0;
  }

  /** The hosts of the first half of the nodes, and of the second. */
  halves(): [left: Host[], right: Host[]] {
    const hosts = this.nodes.map(({ host }) => host);
    return [hosts.slice(0, hosts.length / 2), hosts.slice(hosts.length / 2)];
  }

  /** Waits until every agent that runs knows all the others that run, and nobody else. */
  async settled(): Promise<void> {
    const running = this.nodes.filter(({ agent }) => agent.running);
    const counts = () => Promise.all(running.map(({ agent }) => agent.metric('windlass_peers')));
    let last: number[] = [];
    await eventually(
      async () => {
        last = await counts();
        return last.every((count) => count === running.length - 1);
      },
      {
        timeoutMs: 120_000,
        everyMs: 200,
        what: () => `${running.length} agents to know each other: they know ${last}`,
      },
    );
  }

  /**
   * Waits until the agents together are nearly idle: for some seconds after a start they are busy with each other, and a
   * machine that carries them all has nothing left for a pull.
   */
  async calm(): Promise<void> {
    const running = this.nodes.filter(({ agent }) => agent.running);
    const used = async () => {
      const each = await Promise.all(running.map(({ agent }) => cpuSeconds(agent.pid)));
      return each.reduce((sum, seconds) => sum + seconds, 0);
    };
    let before = await used();
    await eventually(
      async () => {
        const now = await used();
        const isCalm = now - before < CALM_SHARE * availableParallelism() * (CALM_MS / 1000);
        before = now;
        return isCalm;
      },
      { timeoutMs: 120_000, everyMs: CALM_MS, what: 'the agents to be calm' },
    );
  }

  /**
   * Starts what was killed, mends what was cut, and waits until all know each other again, and have ended what they had
   * begun: a writer that was cut off goes on where it was, and what it asks for is not the next test's.
   */
  async restore(): Promise<void> {
    await Promise.all(this.nodes.map(({ agent }) => (agent.running ? undefined : agent.start())));
    await Promise.all(this.nodes.map((node) => node.mend()));
    await this.settled();
    await eventually(async () => (await this.metric('windlass_ingests_running')) === 0, {
      timeoutMs: 120_000,
      everyMs: 200,
      what: 'all ingests to have ended',
    });
  }

  /** Waits until a blob of the image is known to all of its keepers, as held by so many. */
  async indexed({ image }: LabImage, holders: number): Promise<void> {
    const entries = holders * KEEPERS * (image.blobs.length + 1);
    await eventually(async () => (await this.metric('windlass_index_entries')) >= entries, {
      timeoutMs: 120_000,
      everyMs: 200,
      what: `${entries} entries in the index`,
    });
  }

  /** A metric, summed over all agents that run. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const running = this.nodes.filter(({ agent }) => agent.running);
    const values = await Promise.all(running.map(({ agent }) => agent.metric(name, labels)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  /** The nodes that keep a key, nearest first: by the metric of design.md, worked out here anew. */
  async keepers(key: string): Promise<LabNode[]> {
    const hash = (text: string) => BigInt(`0x${createHash('sha256').update(text).digest('hex')}`);
    const at = await Promise.all(
      this.nodes.map(async (node) => ({ node, distance: hash(await node.peerId()) ^ hash(key) })),
    );
    return at.sort((a, b) => (a.distance < b.distance ? -1 : 1)).map(({ node }) => node);
  }

  /** All containerds know that registry from now on, and ask no agent for it. */
  async mirrorless(registry: string, url: string): Promise<void> {
    await writeHostsToml(this.scratch.join('certs.d'), { registry, mirrors: [], server: url });
  }

  /** How a containerd names an image to have it from upstream directly, past all agents. */
  directName({ byTag }: LabImage): string {
    return nameOf({ ...byTag, ns: DIRECT });
  }

  /** Writes what the agents logged below a folder of the test's name, for whoever looks into a failure. */
  async saveLogs(name: string): Promise<void> {
    const folder = join(tmpdir(), `windlass-lab-${name.replace(/\W+/g, '-')}`);
    await mkdir(folder, { recursive: true });
    for (const { name: node, agent } of this.nodes) await writeFile(join(folder, `${node}.log`), agent.log());
    console.warn(`logs are in ${folder}`);
  }

  /** Upstream's link alone. */
  async limitUpstream(megabits: number | undefined): Promise<void> {
    await this.network.limit(this.upstream, { up: megabits, down: megabits });
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }
}

/** Where the hosts reach it, on the one port that a resolv.conf can name. @returns that file */
async function serveNames(scratch: Scratch, dns: DnsServer, { outside }: LabNetwork): Promise<string> {
  await dns.listen(outside, 53);
  scratch.defer(() => dns.close());
  const file = scratch.join('resolv.conf');
  await writeFile(file, `nameserver ${outside}\n`);
  return file;
}

function swarmSettings(host: Host, secretFile: string, peers: readonly string[]): Sections {
  return {
    cluster: { secretFile },
    p2p: { listen: [`/ip4/${host.address}/tcp/5052`] },
    discovery: { kind: 'static', peers },
  };
}

type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

function sections(...all: readonly Sections[]): Sections {
  const merged: Record<string, Readonly<Record<string, unknown>>> = {};
  for (const one of all) {
    for (const [name, values] of Object.entries(one)) merged[name] = { ...merged[name], ...values };
  }
  return merged;
}
