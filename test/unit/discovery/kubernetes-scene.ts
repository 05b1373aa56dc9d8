import { pino } from 'pino';
import type { Candidate } from '../../../src/discovery/discovery.ts';
import { KubernetesDiscovery } from '../../../src/discovery/kubernetes-discovery.ts';
import { SILENT_MS } from '../../../src/discovery/slice-requests.ts';
import { ApiAccess } from '../../../src/kubernetes/api-access.ts';
import { EventQueue } from '../../support/event-queue.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeKubeApi, NAMESPACE, type Protocol, SERVICE } from '../../support/fake-kube-api.ts';
import { Scratch } from '../../support/scratch.ts';

/** Less than a test may take: it shall fail by what it waited for. */
const WAIT_MS = 15_000;

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly hint?: string;
  readonly err?: { readonly message: string };
}

/** One agent's discovery, its own clock, and an API server that is really there. */
export class KubernetesScene {
  readonly api: FakeKubeApi;
  readonly clock = new EventQueue();
  /** What the listener was told, each time. */
  readonly told: (readonly Candidate[])[] = [];
  readonly lines: LogLine[] = [];
  readonly discovery: KubernetesDiscovery;
  readonly #scratch: Scratch;

  private constructor(scratch: Scratch, api: FakeKubeApi) {
    this.#scratch = scratch;
    this.api = api;
    this.discovery = this.another();
  }

  /** The discovery is not started yet. */
  static async create(protocol: Protocol): Promise<KubernetesScene> {
    const scratch = await Scratch.create();
    return new KubernetesScene(scratch, await FakeKubeApi.start(scratch, protocol));
  }

  /** One more of the same agent; who asks for it stops it. */
  another(): KubernetesDiscovery {
    return new KubernetesDiscovery({
      namespace: NAMESPACE,
      service: SERVICE,
      port: 'p2p',
      nodeName: 'n1',
      ownAddresses: () => new Set(['10.0.0.1']),
      timers: this.clock,
      logger: pino({ level: 'info' }, { write: (line) => this.lines.push(JSON.parse(line)) }),
      loadAccess: async () => new ApiAccess(this.api.root),
      // Each wait as it is meant, neither shortened nor lengthened.
      random: () => 0.5,
    });
  }

  async dispose(): Promise<void> {
    await this.discovery.stop();
    await this.#scratch.dispose();
  }

  async start(): Promise<void> {
    await this.discovery.start((candidates) => this.told.push(candidates));
  }

  /** Started, and the server's yes to the watch is known: from now on it may be silent for so long. */
  async watching(): Promise<void> {
    await this.start();
    await this.until(() => this.api.openWatches === 1 && this.clock.nextInMs === SILENT_MS, 'a watch');
  }

  /** The clock stands still meanwhile: only what travels is waited for. */
  async until(condition: () => boolean, what: string): Promise<void> {
    await eventually(condition, {
      timeoutMs: WAIT_MS,
      what: () => `${what}; told ${JSON.stringify(this.told)}, said ${JSON.stringify(this.lines)}`,
    });
  }

  advance(ms: number): Promise<boolean> {
    return this.clock.run(this.clock.now() + ms);
  }

  /** Time goes by until then, slowly enough for requests to be answered. */
  async passes(until: () => boolean, what: string): Promise<void> {
    await eventually(
      async () => {
        if (!until()) await this.advance(250);
        return until();
      },
      {
        timeoutMs: WAIT_MS,
        what: () => `${what}; told ${JSON.stringify(this.told)}, said ${JSON.stringify(this.lines)}`,
      },
    );
  }

  get addresses(): readonly string[] | undefined {
    return this.told.at(-1)?.map(({ address }) => address);
  }

  /** Told at last, with what is told together: some travelling, and a moment by the clock. */
  async toldOf(...addresses: readonly string[]): Promise<void> {
    const wanted = addresses.map((address) => `${address}:5052`).join();
    const begin = this.clock.now();
    await eventually(
      async () => {
        // In small steps, and 2 s in all: so fast is a change to be known.
        if (this.clock.now() < begin + 2_000) await this.advance(50);
        return this.addresses?.join() === wanted;
      },
      {
        timeoutMs: WAIT_MS,
        what: () => `${wanted}; told ${JSON.stringify(this.told)}, said ${JSON.stringify(this.lines)}`,
      },
    );
  }
}

export function sliceOf(name: string, addresses: readonly string[], more: object = {}) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': SERVICE } },
    addressType: addresses.some((address) => address.includes(':')) ? 'IPv6' : 'IPv4',
    ports: [
      { name: 'peer', port: 5051, protocol: 'TCP' },
      { name: 'p2p', port: 5052, protocol: 'TCP' },
    ],
    endpoints: addresses.map((address) => endpointOf(address)),
    ...more,
  };
}

/** `10.0.0.3` is on node n3, zone c. */
export function endpointOf(address: string, conditions: object = { ready: true, serving: true, terminating: false }) {
  const number = Number(/\d+$/.exec(address)?.[0] ?? 0);
  return { addresses: [address], conditions, nodeName: `n${number}`, zone: String.fromCharCode(96 + number) };
}
