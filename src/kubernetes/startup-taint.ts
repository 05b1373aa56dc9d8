import type { Logger } from 'pino';
import { hasCode } from '../errors.ts';
import { backOffMs } from './back-off.ts';
import { KubeApi } from './kube-api.ts';
import { removeTaint } from './node-taint.ts';
import { accessOf, requirePod } from './pod.ts';
import { sleep } from './sleep.ts';
import type { Timers } from './timers.ts';

const LONGEST_WAIT_MS = 60_000;
/** Whoever changes the Node at the same moment is soon done. */
const LONGEST_CONFLICT_MS = 8_000;
/**
 * Who makes nodes may taint them a moment after the agent looked (Karpenter does so as it registers them): it looks
 * again after this, twice as long each time, for eight minutes.
 */
const FIRST_LOOK_MS = 4_000;
const LAST_LOOK_MS = 256_000;
/** Somebody else changes the Node at the same moment: no news, unless it goes on and on. */
const QUIET_CONFLICTS = 5;

const [FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE] = [403, 404, 409, 422];

const HINTS: ReadonlyMap<number | undefined, string> = new Map([
  [FORBIDDEN, "its service account needs get and patch of nodes, and the admission policy must know this Pod's node"],
  [NOT_FOUND, 'node.name must be the name of the Node: in a Pod, its spec.nodeName'],
]);

export interface StartupTaintOptions {
  readonly api: Pick<KubeApi, 'json'>;
  readonly nodeName: string;
  /** As in `windlass.dev/agent-not-ready`, whatever its value and effect. */
  readonly key: string;
  readonly timers: Timers;
  readonly logger: Logger;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
}

/**
 * Takes a taint off this agent's Node, so that Pods come once their images can come through the mirror. Puts nothing
 * back. Goes on trying, since a Node that keeps the taint is of no use.
 *
 * ```
 *  start ─▶ look ── it is there ─▶ patch ─▶ gone ─▶ look again after 4 s, 8 s, … 256 s ─▶ done
 *            ▲                       │
 *            └──── after a wait ◀────┘ any failure
 * ```
 */
export class StartupTaint {
  readonly #options: StartupTaintOptions;
  readonly #stopping = new AbortController();
  /** In a row. */
  #failures = 0;
  /** As logged last, while it fails. */
  #failure: string | undefined;
  #lookMs = FIRST_LOOK_MS;
  #running: Promise<void> | undefined;

  constructor(options: StartupTaintOptions) {
    this.#options = options;
  }

  /** Once the mirror serves. */
  start(): void {
    this.#running = this.#run();
  }

  /** Afterwards nothing is patched. Idempotent, and for one that never started too. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const waitMs = await this.#round(signal).catch((error) => this.#failed(error));
      if (waitMs === undefined) return;
      await sleep(waitMs, signal, this.#options.timers);
    }
  }

  /** @returns when to look again; undefined: never */
  async #round(signal: AbortSignal): Promise<number | undefined> {
    const { api, nodeName, key, logger } = this.#options;
    if (await removeTaint(api, nodeName, key, signal)) {
      logger.info({ taint: key }, 'the startup taint is removed: Pods may come to this node');
    }
    this.#failures = 0;
    this.#failure = undefined;
    const waitMs = this.#lookMs;
    this.#lookMs *= 2;
    return waitMs > LAST_LOOK_MS ? undefined : waitMs;
  }

  #failed(error: unknown): number {
    if (this.#stopping.signal.aborted) return 0;
    const { random = Math.random } = this.#options;
    const { upstreamStatus: status, retryAfterMs = 0 } = hasCode(error, 'KUBERNETES_UNAVAILABLE') ? error : {};
    const isConflict = status === CONFLICT || status === UNPROCESSABLE;
    const longestMs = isConflict ? LONGEST_CONFLICT_MS : LONGEST_WAIT_MS;
    const waitMs = Math.max(backOffMs(this.#failures, longestMs, random()), Math.min(retryAfterMs, LONGEST_WAIT_MS));
    this.#failures += 1;
    if (!isConflict || this.#failures > QUIET_CONFLICTS) this.#complain(error, status);
    return waitMs;
  }

  /** Once when it begins, and when the reason becomes another. */
  #complain(error: unknown, status: number | undefined): void {
    const kind = status === undefined ? 'no answer' : String(status);
    if (kind === this.#failure) return;
    this.#failure = kind;
    const { key, nodeName, logger } = this.#options;
    const hint = HINTS.get(status);
    logger.warn(
      { err: error, taint: key, node: nodeName, ...(hint === undefined ? {} : { hint }) },
      'the startup taint cannot be removed; it is tried again, and pulls are served meanwhile',
    );
  }
}

export interface CreateOptions extends Omit<StartupTaintOptions, 'api' | 'key'> {
  /** For tests: what stands for `/` of this agent's Pod. */
  readonly podRoot?: string | undefined;
}

/**
 * @param key empty: there is none
 * @throws INVALID_SETTINGS outside of a Pod
 */
export function createStartupTaint(key: string, { podRoot = '', ...options }: CreateOptions): StartupTaint | undefined {
  if (key === '') return undefined;
  requirePod(`node.startupTaint = "${key}"`, 'outside of one leave it out');
  const api = new KubeApi({ loadAccess: accessOf(podRoot), timers: options.timers });
  return new StartupTaint({ ...options, api, key });
}
