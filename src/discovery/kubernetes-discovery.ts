import type { Logger } from 'pino';
import type { ApiAccess } from '../kubernetes/api-access.ts';
import { KubeApi } from '../kubernetes/kube-api.ts';
import type { Timers } from '../time/timers.ts';
import type { Candidate, Discovery } from './discovery.ts';
import { EndpointTable } from './endpoint-table.ts';
import { SliceFollower } from './slice-follower.ts';
import { SliceRequests } from './slice-requests.ts';

/** Changes that come together are told together: an endpoint that moves to another slice is never gone. */
const TOGETHER_MS = 200;

export interface KubernetesDiscoveryOptions {
  readonly namespace: string;
  /** The name of a headless Service with `publishNotReadyAddresses`. */
  readonly service: string;
  /** Of the agents' libp2p listeners: a number, or the name that it has in the Service. */
  readonly port: number | string;
  /** The name of this agent's node. */
  readonly nodeName: string;
  readonly ownAddresses: () => ReadonlySet<string>;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Loads the client of Kubernetes, which agents of other kinds do without. */
  readonly loadAccess: () => Promise<ApiAccess>;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
}

/**
 * Agents by the EndpointSlices of their Service, as the API of Kubernetes tells them and their changes. Needs the right
 * to get, list and watch EndpointSlices in the Service's namespace, and no DNS. What was found stays while the API
 * server cannot be reached.
 */
export class KubernetesDiscovery implements Discovery {
  readonly #options: KubernetesDiscoveryOptions;
  readonly #table: EndpointTable;
  readonly #follower: SliceFollower;
  #listener: ((candidates: readonly Candidate[]) => void) | undefined;
  #cancelTell: (() => void) | undefined;
  #cancelExpiry: (() => void) | undefined;
  /** As told last; an empty first answer is no news. */
  #told = '[]';
  #lacksPort = false;

  constructor(options: KubernetesDiscoveryOptions) {
    const { namespace, service, port, nodeName, ownAddresses, loadAccess, timers, logger } = options;
    const { random = Math.random } = options;
    this.#options = options;
    this.#table = new EndpointTable({ port, nodeName, ownAddresses });
    this.#follower = new SliceFollower({
      requests: new SliceRequests({ api: new KubeApi({ loadAccess, timers }), namespace, service, random }),
      onList: ({ slices }) => {
        this.#table.replace(slices);
        this.#tell();
      },
      onEvent: (event) => {
        if (event.type === 'set') this.#table.set(event.slice);
        else if (event.type === 'removed') this.#table.remove(event.name);
        this.#tellSoon();
      },
      timers,
      random,
      logger,
    });
  }

  async start(listener: (candidates: readonly Candidate[]) => void): Promise<void> {
    this.#listener = listener;
    this.#follower.start();
  }

  async stop(): Promise<void> {
    this.#listener = undefined;
    this.#cancelTell?.();
    this.#cancelExpiry?.();
    await this.#follower.stop();
  }

  #tellSoon(): void {
    this.#cancelTell ??= this.#options.timers.after(TOGETHER_MS, () => this.#tellFromTimer());
  }

  /** Nobody else would catch what a timer's call throws: it would end the agent. The next change is told again. */
  #tellFromTimer(): void {
    try {
      this.#tell();
    } catch (err) {
      this.#options.logger.error({ err }, 'discovery: a change of the EndpointSlices could not be told');
    }
  }

  #tell(): void {
    this.#cancelTell?.();
    this.#cancelTell = undefined;
    this.#cancelExpiry?.();
    const { timers } = this.#options;
    const { candidates, untilMs } = this.#table.candidates(timers.now());
    this.#cancelExpiry =
      untilMs === undefined ? undefined : timers.after(untilMs - timers.now(), () => this.#tellFromTimer());
    this.#warnOfPort();
    const text = JSON.stringify(candidates);
    if (text === this.#told) return;
    this.#listener?.(candidates);
    // Only now: what a listener failed at is told it again with the next change.
    this.#told = text;
  }

  #warnOfPort(): void {
    const { service, port, logger } = this.#options;
    const before = this.#lacksPort;
    this.#lacksPort = this.#table.lacksPort;
    if (!this.#lacksPort || before) return;
    logger.warn({ service, port }, 'discovery: the Service has no port of this name (discovery.kubernetes.port)');
  }
}
