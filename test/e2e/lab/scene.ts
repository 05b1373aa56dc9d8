import { eventually } from '../../support/eventually.ts';
import type { Lab, LabImage } from './lab.ts';
import type { LabNode } from './lab-node.ts';
import type { Pull } from './pull.ts';

export interface SceneOptions {
  /** Who pulls; by default all. */
  readonly nodes?: readonly LabNode[];
  /** By tag, unless this says otherwise for a node. */
  readonly byDigest?: (node: number) => boolean;
  /** Between one start and the next. */
  readonly staggerMs?: number;
  /** By the plain client even where there is a containerd, which would go upstream while its agent is away. */
  readonly plain?: boolean;
}

/**
 * One image that many nodes pull at once, and what befalls them meanwhile. A node that is killed is given up: its
 * plain client leaves, its containerd goes on by itself.
 */
export class Scene {
  readonly #lab: Lab;
  readonly #image: LabImage;
  readonly #pulls = new Map<LabNode, Promise<void>>();
  readonly #clients = new Map<LabNode, Pull>();
  readonly #retries = new Map<LabNode, number>();
  readonly #killed = new Set<LabNode>();
  /** Upstream bytes of each agent, and of the link, before. */
  readonly #received: ReadonlyMap<LabNode, number>;
  readonly #sentBefore: number;

  private constructor(lab: Lab, image: LabImage, received: ReadonlyMap<LabNode, number>, sentBefore: number) {
    this.#lab = lab;
    this.#image = image;
    this.#received = received;
    this.#sentBefore = sentBefore;
  }

  static async start(lab: Lab, image: LabImage, options: SceneOptions = {}): Promise<Scene> {
    const { nodes = lab.nodes, byDigest = () => false, staggerMs = 0, plain = false } = options;
    const received = new Map(await Promise.all(nodes.map(async (node) => [node, await node.upstreamBytes()] as const)));
    const scene = new Scene(lab, image, received, await lab.upstreamSent());
    nodes.forEach((node, i) => {
      const reference = byDigest(i) ? image.byDigest : image.byTag;
      const begun = i * staggerMs;
      const pull = scene.#pull(node, reference, begun, plain);
      scene.#pulls.set(node, pull);
      pull.catch(() => {
        // `finish` tells.
      });
    });
    return scene;
  }

  /** Waits until upstream has sent that share of the image. */
  async upstreamAt(share: number): Promise<void> {
    const bytes = share * this.#image.image.totalBytes;
    await eventually(async () => (await this.#lab.upstreamSent()) - this.#sentBefore >= bytes, {
      timeoutMs: 120_000,
      everyMs: 10,
      what: `upstream to have sent ${share} of the image`,
    });
  }

  /** The live nodes by what their agents have received from upstream, the most first: the writer, then others. */
  async byUpstreamBytes(): Promise<{ node: LabNode; bytes: number }[]> {
    const live = [...this.#received].filter(([node]) => !this.#killed.has(node));
    const all = live.map(async ([node, before]) => ({ node, bytes: (await node.upstreamBytes()) - before }));
    return (await Promise.all(all)).sort((a, b) => b.bytes - a.bytes);
  }

  async writer(): Promise<LabNode> {
    const [most] = await this.byUpstreamBytes();
    if (most === undefined || most.bytes === 0) throw new Error('nobody writes');
    return most.node;
  }

  /** A node that sends to others what it does not have from upstream. */
  relay(): Promise<LabNode> {
    return eventually(
      async () => {
        for (const { node, bytes } of (await this.byUpstreamBytes()).reverse()) {
          const uploads = await node.agent.metric('windlass_peer_uploads_running');
          if (bytes < this.#image.image.totalBytes / 50 && uploads > 0) return node;
        }
        return undefined;
      },
      { what: 'a node that relays' },
    );
  }

  /** kill -9, all at the same moment. */
  async kill(...nodes: readonly LabNode[]): Promise<void> {
    for (const node of nodes) this.giveUp(node);
    await Promise.all(nodes.map(({ agent }) => agent.kill()));
  }

  /** From now on what its client gets does not matter. */
  giveUp(node: LabNode): void {
    this.#killed.add(node);
    this.#clients.get(node)?.leave();
  }

  /** Waits for all pulls. Rejects with what went wrong at nodes that were not killed. */
  async finish(): Promise<void> {
    const ended = [...this.#pulls].map(async ([node, pull]) => {
      try {
        await pull;
      } catch (error) {
        if (!this.#killed.has(node)) throw new Error(`${node.name}: ${String(error)}`, { cause: error });
      }
    });
    const failed = (await Promise.allSettled(ended)).filter((result) => result.status === 'rejected');
    if (failed.length > 0)
      throw new AggregateError(
        failed.map(({ reason }) => reason),
        failed.map(String).join('\n'),
      );
  }

  /** Nodes whose own agent was there all the time. */
  get survivors(): LabNode[] {
    return [...this.#pulls.keys()].filter((node) => !this.#killed.has(node));
  }

  /** Survivors whose plain client was not served to the end by one answer a blob. To be asked once it has finished. */
  get askedAgain(): string[] {
    return this.survivors.filter((node) => this.retriesOf(node) > 0).map(({ name }) => name);
  }

  /** How often a node's plain client had to ask its agent again; 0 for a containerd. To be asked once it has finished. */
  retriesOf(node: LabNode): number {
    return this.#retries.get(node) ?? 0;
  }

  async #pull(node: LabNode, reference: LabImage['byTag'], afterMs: number, plain: boolean): Promise<void> {
    if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
    if (node.containerd !== undefined && !plain) return node.pullAsItDoes(reference);
    const client = node.pull(reference);
    this.#clients.set(node, client);
    const { digests, retries } = await client.done;
    this.#retries.set(node, retries);
    const missing = [this.#image.image.top, ...this.#image.image.blobs].filter(
      ({ digest }) => !digests.includes(digest),
    );
    if (missing.length > 0) throw new Error(`not pulled: ${missing.map(({ digest }) => digest).join(' ')}`);
  }
}
