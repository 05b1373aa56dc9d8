import { freePorts } from '../../src/demo/free-ports.ts';
import type { Member } from '../../src/routing/member.ts';
import { AgentCluster } from './agent-cluster.ts';
import type { AgentProcess } from './agent-process.ts';
import { eventually } from './eventually.ts';
import { EvilAgent } from './evil-agent.ts';
import { httpGet } from './http-get.ts';
import { buildImage, digestOf, type Image, type ImageBlob } from './image.ts';
import { pushImage } from './push.ts';
import { RealRegistry } from './real-registry.ts';
import type { Scratch } from './scratch.ts';

/** Honest agents. */
export const HONEST = 3;
const MIB = 1024 * 1024;
const REPOSITORY = 'library/hostile';

/** Agents that are honest, and one that lies, before one registry. */
export class HostileStage {
  /** Where images are published, as claims name it. */
  readonly source = `docker.io/${REPOSITORY}`;
  readonly registry: RealRegistry;
  readonly cluster: AgentCluster;
  readonly #scratch: Scratch;
  readonly #seeds: readonly string[];
  #evil: EvilAgent | undefined;
  #images = 0;

  private constructor(scratch: Scratch, registry: RealRegistry, cluster: AgentCluster, seeds: readonly string[]) {
    this.#scratch = scratch;
    this.registry = registry;
    this.cluster = cluster;
    this.#seeds = seeds;
  }

  static async start(scratch: Scratch): Promise<HostileStage> {
    const registry = await RealRegistry.start(scratch);
    const ports = await freePorts(HONEST);
    const seeds = ports.map((port) => `127.0.0.1:${port}`);
    const cluster = await AgentCluster.start(scratch, {
      agents: HONEST,
      registries: { 'docker.io': registry.url },
      settings: { discovery: { kind: 'static', peers: seeds } },
      settingsOf: (index) => ({ p2p: { listen: [`/ip4/127.0.0.1/tcp/${ports[index]}`] } }),
    });
    return new HostileStage(scratch, registry, cluster, seeds);
  }

  get evil(): EvilAgent {
    if (this.#evil === undefined) throw new Error('nobody lies yet');
    return this.#evil;
  }

  /** Another liar, whom all know when this resolves. */
  async nextEvil(): Promise<EvilAgent> {
    const evil = await EvilAgent.start(this.#scratch, { secretFile: this.cluster.secretFile, seeds: this.#seeds });
    this.#evil = evil;
    await eventually(() => evil.others.length === HONEST);
    await this.cluster.settled(HONEST);
    return evil;
  }

  /** One layer, kept by the liar or by an honest agent. */
  async publish(kept: 'kept by it' | 'kept by others', layerBytes = 2.5 * MIB): Promise<Image & { layer: ImageBlob }> {
    for (;;) {
      this.#images += 1;
      const image = buildImage({ seed: `hostile ${this.#images}`, layerBytes: [layerBytes], gzip: false });
      const [layer] = image.layers;
      if (layer === undefined || this.evil.isKeeperOf(layer.digest) !== (kept === 'kept by it')) continue;
      await pushImage(this.registry.url, REPOSITORY, `v${this.#images}`, image);
      await this.registry.forget();
      return { ...image, layer };
    }
  }

  /**
   * A client that tries until it has the whole. What is whole must be right, at the first try as at the last.
   * @returns how often it tried.
   */
  async get(agent: AgentProcess, kind: 'blobs' | 'manifests', { digest }: ImageBlob): Promise<number> {
    const url = `${agent.mirrorUrl}/v2/${REPOSITORY}/${kind}/${digest}?ns=docker.io`;
    let last = 'nothing yet';
    let tries = 0;
    const answer = await eventually(
      async () => {
        tries += 1;
        const { status, end, bytes } = await httpGet(url, { signal: AbortSignal.timeout(60_000) });
        last = `${status}, ${end}, ${bytes.length} bytes`;
        return status === 200 && end === 'whole' && { bytes };
      },
      { timeoutMs: 90_000, what: () => `a blob: ${last}; the agent said:\n${agent.daemon.tail()}` },
    );
    if (digestOf(answer.bytes) !== digest) throw new Error(`${digest}: whole, and wrong`);
    return tries;
  }

  /** @returns how often it tried at most. */
  async getAll(agent: AgentProcess, { manifest, blobs }: Image): Promise<number> {
    const first = await this.get(agent, 'manifests', manifest);
    return Math.max(first, ...(await Promise.all(blobs.map((blob) => this.get(agent, 'blobs', blob)))));
  }

  /** All at once. @returns how often one of them tried, at most. */
  async everyoneGets(image: Image): Promise<number> {
    return Math.max(...(await Promise.all(this.cluster.agents.map((agent) => this.getAll(agent, image)))));
  }

  /** How often since something was published last. */
  async askedUpstream({ digest }: ImageBlob): Promise<number> {
    return (await this.registry.counts())[`GET blob ${digest}`] ?? 0;
  }

  /** What nobody has seen is asked for once, if not at the first try. */
  async onceAgain(): Promise<void> {
    await eventually(
      async () => {
        const image = await this.publish('kept by others');
        await this.everyoneGets(image);
        return (await this.askedUpstream(image.layer)) === 1;
      },
      { timeoutMs: 60_000, what: 'a blob to be asked for once' },
    );
  }

  /** What honest agents warn of, about the liar. */
  warnings(): string[] {
    const { peerId } = this.evil;
    return this.cluster.agents.flatMap((agent) =>
      agent.logs().flatMap(({ level, peer, msg }) => (Number(level) >= 40 && peer === peerId ? [String(msg)] : [])),
    );
  }

  /** Of those that named the liar so, who they are in the roster. */
  whoLog(message: string): Member[] {
    return this.cluster.agents.flatMap((agent, index) =>
      agent.logs().some(({ msg, peer }) => msg === message && peer === this.evil.peerId)
        ? this.evil.others.filter(({ nodeName }) => nodeName === `node-${index}`)
        : [],
    );
  }

  /** Honest agents that say so in their logs. */
  whoBlame(reason: string): AgentProcess[] {
    return this.cluster.agents.filter((agent) =>
      agent.logs().some((line) => line.peer === this.evil.peerId && line.reason === reason),
    );
  }

  /** By how many agents the gauge names it, now. */
  namedAs(reason: string): Promise<number> {
    const { nodeName } = this.evil.roster.self;
    return this.cluster.metric('windlass_peers_left_out', { peer_node: nodeName, reason });
  }

  /** While something else goes on, after which it may be over. */
  async isNamedAs(reason: string): Promise<void> {
    const what = `somebody to be named as ${reason}`;
    await eventually(async () => (await this.namedAs(reason)) > 0, { everyMs: 200, timeoutMs: 90_000, what });
  }
}
