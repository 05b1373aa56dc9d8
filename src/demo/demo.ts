import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client, type ClientManner } from './client.ts';
import { pullWithContainerd } from './containerd.ts';
import { buildImage, type DemoImage } from './image.ts';
import type { DemoProgress } from './progress.ts';
import { DemoRegistry } from './registry.ts';
import { type DemoResult, judge, mib } from './result.ts';
import type { DemoView } from './view.ts';

const REGISTRY_HOST = 'registry.example';
const REPOSITORY = 'windlass/demo';
const TAG = '1';
export const IMAGE_NAME = `${REGISTRY_HOST}/${REPOSITORY}:${TAG}`;

/** Slow enough that one can watch it: 72 MiB in three seconds. */
const UPSTREAM_BYTES_PER_SECOND = 24 * 1024 * 1024;
const RATE_TEXT = `${UPSTREAM_BYTES_PER_SECOND / (1024 * 1024)} MiB/s`;
const MANNERS: readonly ClientManner[] = ['whole', 'whole', 'quits', 'whole', 'whole', 'ranges', 'whole', 'whole'];
const FRAME_MS = 80;

/** A mirror between clients and registry. The demo knows no more of it than a container runtime does. */
export interface DemoMirror {
  readonly url: string;
  stop(): Promise<void>;
}

export interface DemoOptions {
  /** Empty, and removed by whoever made it. */
  readonly directory: string;
  readonly view: DemoView;
  /** Starts a mirror that keeps its data in `storePath` and asks the registry at `registryUrl`. */
  startMirror(storePath: string, registryHost: string, registryUrl: string): Promise<DemoMirror>;
}

/** A registry, a mirror, an image: started, pulled through by eight clients at once, and judged. */
export class Demo implements AsyncDisposable {
  readonly registryUrl: string;
  readonly mirrorUrl: string;
  readonly #options: DemoOptions;
  readonly #image: DemoImage;
  readonly #registry: DemoRegistry;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    options: DemoOptions,
    started: { image: DemoImage; registry: DemoRegistry; registryUrl: string; mirrorUrl: string },
    stack: AsyncDisposableStack,
  ) {
    this.#options = options;
    this.#image = started.image;
    this.#registry = started.registry;
    this.registryUrl = started.registryUrl;
    this.mirrorUrl = started.mirrorUrl;
    this.#stack = stack;
  }

  static async start(options: DemoOptions, signal: AbortSignal): Promise<Demo> {
    await using stack = new AsyncDisposableStack();
    const image = buildImage();
    const registry = new DemoRegistry({
      image,
      repository: REPOSITORY,
      tag: TAG,
      bytesPerSecond: UPSTREAM_BYTES_PER_SECOND,
    });
    const registryUrl = await registry.start();
    stack.defer(() => registry.stop());
    signal.throwIfAborted();
    const mirror = await options.startMirror(path.join(options.directory, 'store'), REGISTRY_HOST, registryUrl);
    stack.defer(() => mirror.stop());
    signal.throwIfAborted();
    return new Demo(options, { image, registry, registryUrl, mirrorUrl: mirror.url }, stack.move());
  }

  async run(signal: AbortSignal): Promise<DemoResult> {
    const clients = MANNERS.map((manner, i) => {
      const names = { ns: REGISTRY_HOST, repository: REPOSITORY, tag: TAG };
      return new Client({ name: `${i + 1}`, manner, url: this.mirrorUrl, ...names });
    });
    const reports = await this.#watch(clients, signal);
    const upstream = this.#registry.counts;
    const containerd = await this.#pullWithContainerd(signal);
    return judge({
      image: {
        name: IMAGE_NAME,
        sizeBytes: this.#image.sizeBytes,
        blobs: this.#image.blobs.length,
        manifests: 2,
      },
      clients: reports,
      upstream,
      containerd,
      upstreamRequestsOfContainerd: this.#registry.counts.total - upstream.total,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #watch(clients: readonly Client[], signal: AbortSignal): Promise<Awaited<ReturnType<Client['pull']>>[]> {
    const { view } = this.#options;
    const { sizeBytes, blobs } = this.#image;
    view.say(
      `  An image was made just now: ${mib(sizeBytes)} in ${blobs.length} blobs. The registry sends ${RATE_TEXT}.`,
    );
    const [quitter, ranger] = [MANNERS.indexOf('quits') + 1, MANNERS.indexOf('ranges') + 1];
    view.say(`  Eight clients pull it at once; client ${quitter} quits half way, ${ranger} asks for ranges.`);
    view.say('  Each blob leaves the registry once; all clients read it while it arrives.\n');
    const startedMs = performance.now();
    const show = (): void => view.show(this.#progress(clients, performance.now() - startedMs));
    const timer = setInterval(show, FRAME_MS);
    try {
      show();
      const reports = await Promise.all(clients.map((client) => client.pull(signal)));
      show();
      return reports;
    } finally {
      clearInterval(timer);
      view.done();
    }
  }

  #progress(clients: readonly Client[], elapsedMs: number): DemoProgress {
    const { sizeBytes, blobs } = this.#image;
    return {
      elapsedMs,
      sizeBytes,
      upstreamBytes: this.#registry.counts.sentBytes,
      servedBytes: clients.reduce((sum, client) => sum + client.receivedBytes, 0),
      blobs: blobs.map(({ digest, bytes }) => ({
        digest,
        sizeBytes: bytes.length,
        sentBytes: this.#registry.sentBytes(digest),
        readers: clients.filter((client) => client.isReading(digest)).length,
      })),
      clients: clients.map(({ name, receivedBytes, outcome }) => ({ name, share: receivedBytes / sizeBytes, outcome })),
    };
  }

  async #pullWithContainerd(signal: AbortSignal): ReturnType<typeof pullWithContainerd> {
    this.#options.view.say('\n  And now a real containerd, if this machine has one.');
    const directory = path.join(this.#options.directory, 'containerd');
    await mkdir(directory);
    const { registryUrl, mirrorUrl } = this;
    return pullWithContainerd(
      { directory, registryHost: REGISTRY_HOST, registryUrl, mirrorUrl, image: IMAGE_NAME },
      signal,
    );
  }
}
