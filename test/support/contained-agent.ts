import { chown, mkdir, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { freePorts } from '../../src/demo/free-ports.ts';
import type { Containerd } from './containerd.ts';
import { eventually } from './eventually.ts';
import { type FakeKubeApi, SERVICE } from './fake-kube-api.ts';
import { HardenedContainer } from './hardened-container.ts';
import { httpGet } from './http-get.ts';
import type { Scratch } from './scratch.ts';
import type { WindlassImage } from './windlass-image.ts';

/** As in the image. */
export const USER = 65532;
export const STORE = '/var/lib/windlass';
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

interface ContainedAgentOptions {
  readonly name: string;
  readonly containerd: Containerd;
  readonly image: WindlassImage;
  readonly api: FakeKubeApi;
  readonly secretFile: string;
  readonly upstream: string;
}

/** An agent from the image, which finds others by Kubernetes; its store and its ports stay when it is started again. */
export class ContainedAgent {
  readonly mirrorUrl: string;
  readonly statusUrl: string;
  readonly #scratch: Scratch;
  readonly #options: ContainedAgentOptions;
  readonly #folder: string;
  #container: HardenedContainer | undefined;

  private constructor(
    scratch: Scratch,
    options: ContainedAgentOptions,
    folder: string,
    mirror: number,
    status: number,
  ) {
    this.#scratch = scratch;
    this.#options = options;
    this.#folder = folder;
    this.mirrorUrl = `http://127.0.0.1:${mirror}`;
    this.statusUrl = `http://127.0.0.1:${status}`;
  }

  static async create(scratch: Scratch, options: ContainedAgentOptions): Promise<ContainedAgent> {
    const { name, api, upstream } = options;
    const folder = scratch.join(name);
    await mkdir(`${folder}/store`, { recursive: true });
    await chown(`${folder}/store`, USER, USER);
    const [mirror = 0, peer = 0, p2p = 0, status = 0] = await freePorts(4);
    const settings = {
      node: { name },
      mirror: { listen: [`127.0.0.1:${mirror}`] },
      peer: { listen: `127.0.0.1:${peer}` },
      p2p: { listen: [`/ip4/127.0.0.1/tcp/${p2p}`] },
      status: { listen: `127.0.0.1:${status}` },
      store: { minFree: '1%' },
      // However busy the machine is: a pull that runs has the time to end.
      stop: { gracePeriod: '1m' },
      cluster: { secretFile: ['/etc/windlass/secret'] },
      discovery: { kind: 'kubernetes', kubernetes: { service: SERVICE, port: 'p2p' } },
      registries: [{ host: 'docker.io', endpoint: upstream }],
    };
    await writeFile(`${folder}/windlass.yaml`, stringify(settings));
    api.set({
      metadata: { name, labels: { 'kubernetes.io/service-name': SERVICE } },
      addressType: 'IPv4',
      ports: [{ name: 'p2p', port: p2p }],
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { serving: true }, nodeName: name, zone: 'a' }],
    });
    return new ContainedAgent(scratch, options, folder, mirror, status);
  }

  /** Until it is ready. */
  async start(): Promise<void> {
    const { containerd, image, api, secretFile } = this.#options;
    this.#container = HardenedContainer.start(this.#scratch, containerd, {
      image: image.reference,
      env: {
        WINDLASS_CONFIG: '/etc/windlass/windlass.yaml',
        KUBERNETES_SERVICE_HOST: process.env.KUBERNETES_SERVICE_HOST ?? '',
        KUBERNETES_SERVICE_PORT: process.env.KUBERNETES_SERVICE_PORT ?? '',
      },
      mounts: {
        [STORE]: `${this.#folder}/store`,
        '/etc/windlass/windlass.yaml': `${this.#folder}/windlass.yaml`,
        '/etc/windlass/secret': secretFile,
        [ACCOUNT]: `${api.root}${ACCOUNT}`,
      },
    });
    await this.container.daemon.ready(async () => (await httpGet(`${this.statusUrl}/readyz`)).status === 200);
  }

  get container(): HardenedContainer {
    if (this.#container === undefined) throw new Error('the container was never started');
    return this.#container;
  }

  /** Waits until it knows so many others. */
  async becomes({ peers }: { readonly peers: number }): Promise<void> {
    await eventually(
      async () => {
        const status = JSON.parse((await httpGet(`${this.statusUrl}/status`)).bytes.toString());
        return status.peers.length === peers;
      },
      { timeoutMs: 120_000, what: () => `${peers} peers; it said:\n${this.container.daemon.tail()}` },
    );
  }
}
