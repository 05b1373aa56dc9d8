import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { AgentProcess } from './agent-process.ts';
import { Agents } from './agents.ts';
import { Client, type ClientManner } from './client.ts';
import { pullWithContainerd } from './containerd.ts';
import { buildImage, type DemoImage } from './image.ts';
import { killWriter, successorOf, type Victim } from './killing.ts';
import { runPulls } from './pulls.ts';
import { DemoRegistry } from './registry.ts';
import { type DemoResult, type ImageFacts, judge, type KillMeasurements, mib } from './result.ts';
import type { DemoView } from './view.ts';

const REGISTRY_HOST = 'registry.example';
const REPOSITORY = 'windlass/demo';
const SECOND_REPOSITORY = 'windlass/second';
const TAG = '1';
export const IMAGE_NAME = `${REGISTRY_HOST}/${REPOSITORY}:${TAG}`;

const SECOND_NOISE_MIB = [4, 10, 24];
const MIN_CLIENTS = 8;

export interface DemoOptions {
  /** Empty, and removed by whoever made it. */
  readonly directory: string;
  readonly view: DemoView;
  readonly agents: number;
  /** The script whose command `agent` is run for each of them. */
  readonly entry: string;
  /** A file for the agents' logs. */
  readonly log: string | undefined;
}

/** A registry, agents, two images: started, pulled through by many clients at once, an agent killed, and judged. */
export class Demo implements AsyncDisposable {
  readonly registryUrl: string;
  readonly #options: DemoOptions;
  readonly #image: DemoImage;
  readonly #second: DemoImage;
  readonly #registry: DemoRegistry;
  readonly #agents: readonly AgentProcess[];
  readonly #togetherMs: number | undefined;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    options: DemoOptions,
    started: {
      readonly image: DemoImage;
      readonly second: DemoImage;
      readonly registry: DemoRegistry;
      readonly registryUrl: string;
      readonly agents: Agents;
      readonly togetherMs: number | undefined;
    },
    stack: AsyncDisposableStack,
  ) {
    this.#options = options;
    this.#image = started.image;
    this.#second = started.second;
    this.#registry = started.registry;
    this.registryUrl = started.registryUrl;
    this.#agents = started.agents.all;
    this.#togetherMs = started.togetherMs;
    this.#stack = stack;
  }

  static async start(options: DemoOptions, signal: AbortSignal): Promise<Demo> {
    const { directory, agents: count, entry, log, view } = options;
    await using stack = new AsyncDisposableStack();
    const image = buildImage();
    const second = buildImage(SECOND_NOISE_MIB, 'second');
    const registry = new DemoRegistry({
      repositories: [
        { repository: REPOSITORY, tag: TAG, image },
        { repository: SECOND_REPOSITORY, tag: TAG, image: second },
      ],
      bytesPerSecond: rateFor(count),
    });
    const registryUrl = await registry.start();
    stack.defer(() => registry.stop());
    signal.throwIfAborted();
    const registries = [{ host: REGISTRY_HOST, endpoint: registryUrl }];
    const agents = stack.use(await Agents.start({ count, directory, entry, registries, log }, signal));
    const togetherMs = await agents.untilTogether(signal);
    if (count > 1) view.say(`  ${foundEachOther(count, togetherMs)}`);
    return new Demo(options, { image, second, registry, registryUrl, agents, togetherMs }, stack.move());
  }

  /** The first agent that is alive: where `--keep` points to. */
  get kept(): { readonly mirrorUrl: string; readonly statusUrl: string } {
    const { mirrorUrl = '', statusUrl = '' } = this.#agents.find((agent) => agent.isAlive) ?? {};
    return { mirrorUrl, statusUrl };
  }

  async run(signal: AbortSignal): Promise<DemoResult> {
    const { clients, nodes } = await this.#pullAtOnce(signal);
    const upstream = this.#registry.counts(REPOSITORY);
    const containerd = await this.#pullWithContainerd(signal);
    const upstreamRequestsOfContainerd = this.#registry.counts(REPOSITORY).total - upstream.total;
    return judge({
      image: factsOf(this.#image, REPOSITORY),
      agents: this.#agents.length,
      togetherMs: this.#togetherMs,
      clients,
      nodes,
      upstream,
      containerd,
      upstreamRequestsOfContainerd,
      kill: this.#agents.length === 1 ? undefined : await this.#pullAndKill(signal),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #pullAtOnce(signal: AbortSignal): ReturnType<typeof runPulls> {
    const { view } = this.#options;
    const { sizeBytes, blobs } = this.#image;
    const roles = castClients(this.#agents.length);
    const clients = roles.map(({ manner, agent }, i) => this.#client(`${i + 1}`, manner, agent, REPOSITORY));
    view.say(
      `  An image was made just now: ${mib(sizeBytes)} in ${blobs.length} blobs. The registry sends ${mib(rateFor(this.#agents.length))}/s.`,
    );
    const [quitter, ranger] = (['quits', 'ranges'] as const).map(
      (manner) => roles.findIndex((role) => role.manner === manner) + 1,
    );
    view.say(`  ${roles.length} clients pull it at once; client ${quitter} quits half way, ${ranger} asks for ranges.`);
    view.say('  Each blob leaves the registry once; all read it while it arrives.\n');
    const registry = this.#registry;
    return runPulls(
      { clients, agents: this.#agents, registry, repository: REPOSITORY, image: this.#image, view },
      signal,
    );
  }

  async #pullAndKill(signal: AbortSignal): Promise<KillMeasurements> {
    const { view } = this.#options;
    const [agents, registry, image, repository] = [this.#agents, this.#registry, this.#second, SECOND_REPOSITORY];
    view.say(
      `\n  And now another image, ${mib(image.sizeBytes)}: one client on each node. Half way through the largest blob`,
    );
    view.say('  the registry pauses, and the agent that was fetching it is killed (-9).\n');
    let victim: Victim | undefined;
    let successor: string | undefined;
    const report = await runPulls(
      {
        clients: agents.map((_agent, i) => this.#client(`${i + 1}`, 'whole', i, repository, this.registryUrl)),
        agents,
        registry,
        repository,
        image,
        view,
        beside: async (nodes, ended) => {
          victim = await killWriter(agents, registry, image, ended);
          successor = await successorOf(victim, agents, nodes, ended);
        },
      },
      signal,
    );
    const found = victim as Victim | undefined;
    return {
      ...report,
      image: factsOf(image, repository),
      upstream: registry.counts(repository, 'agents'),
      direct: registry.counts(repository, 'others'),
      victim: found,
      successor,
      getsOfVictimsBlob: found === undefined ? 0 : registry.gets(found.digest, 'agents'),
    };
  }

  #client(name: string, manner: ClientManner, agent: number, repository: string, fallbackUrl?: string): Client {
    const url = this.#agents[agent]?.mirrorUrl ?? '';
    const names = { ns: REGISTRY_HOST, repository, tag: TAG };
    return new Client({ name, manner, url, ...names, ...(fallbackUrl === undefined ? {} : { fallbackUrl }) });
  }

  async #pullWithContainerd(signal: AbortSignal): ReturnType<typeof pullWithContainerd> {
    this.#options.view.say('\n  And now a real containerd, if this machine has one.');
    const directory = path.join(this.#options.directory, 'containerd');
    await mkdir(directory);
    const { mirrorUrl } = this.kept;
    const { registryUrl } = this;
    return pullWithContainerd(
      { directory, registryHost: REGISTRY_HOST, registryUrl, mirrorUrl, image: IMAGE_NAME },
      signal,
    );
  }
}

/**
 * Slow enough that one can watch it: 56 MiB in four seconds; and that two cores can do what many agents and clients have
 * to do meanwhile. An agent that is short of CPU is left by others as slow, and the demo is to show something else.
 */
function rateFor(agents: number): number {
  return Math.round(Math.max(4, Math.min(24, 48 / agents))) * 1024 * 1024;
}

interface Role {
  readonly manner: ClientManner;
  /** Which agent it asks, from 0 on. */
  readonly agent: number;
}

/** One on each node that pulls as it should; then one that quits, one that asks for ranges, and more of the first. */
function castClients(agents: number): Role[] {
  const extras: ClientManner[] = ['quits', 'ranges'];
  const count = Math.max(MIN_CLIENTS, agents + extras.length);
  return Array.from({ length: count }, (_, i) => ({ manner: extras[i - agents] ?? 'whole', agent: i % agents }));
}

function factsOf({ sizeBytes, blobs }: DemoImage, repository: string): ImageFacts {
  return { name: `${REGISTRY_HOST}/${repository}:${TAG}`, sizeBytes, blobs: blobs.length, manifests: 2 };
}

function foundEachOther(count: number, togetherMs: number | undefined): string {
  return togetherMs === undefined
    ? `${count} agents did not find each other.`
    : `${count} agents have found each other, in ${(togetherMs / 1000).toFixed(1)} s.`;
}
