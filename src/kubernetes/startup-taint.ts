import type { Logger } from 'pino';
import { hasCode } from '../errors.ts';
import type { Timers } from '../time/timers.ts';
import { backOffMs } from './back-off.ts';
import { KubeApi } from './kube-api.ts';
import { removeTaint } from './node-taint.ts';
import { accessOf, requirePod } from './pod.ts';
import { Rounds } from './rounds.ts';

const LONGEST_WAIT_MS = 60_000;
/** Rights and names that are wrong are put right by people. With what spreads the agents it is five minutes. */
const LONGEST_REFUSED_MS = 200_000;
/** Whoever changes the Node at the same moment is soon done. */
const LONGEST_CONFLICT_MS = 8_000;
/**
 * Who makes nodes may taint them a moment after the agent looked (Karpenter does so as it registers them): it looks
 * again after this, twice as long each time.
 */
const FIRST_LOOK_MS = 4_000;
const LAST_LOOK_MS = 256_000;
/** Then it goes on like this: a Node that is deleted is registered anew by its kubelet, with the taint. */
const LATER_LOOK_MS = { least: 300_000, most: 600_000 };
/** Somebody else changes the Node at the same moment: no news, unless it goes on and on. */
const QUIET_CONFLICTS = 5;

const [FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE] = [403, 404, 409, 422];

const HINTS: ReadonlyMap<number | undefined, string> = new Map([
  [FORBIDDEN, "its service account needs patch of nodes, and the admission policy must know this Pod's node"],
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
 * back. Goes on trying, since a Node that keeps the taint is of no use, and looking, for it may come again.
 *
 * ```
 *  start ─▶ look ── it is there ─▶ patch ─▶ gone ─▶ look again after 4 s, 8 s, … 256 s, then every 5 to 10 min
 *            ▲                       │
 *            └──── after a wait ◀────┘ any failure
 * ```
 */
export class StartupTaint {
  readonly #options: StartupTaintOptions;
  readonly #rounds: Rounds;
  /** In a row. */
  #failures = 0;
  /** As logged last, while it fails. */
  #failure: string | undefined;
  #lookMs = FIRST_LOOK_MS;

  constructor(options: StartupTaintOptions) {
    this.#options = options;
    this.#rounds = new Rounds({
      round: (signal) => this.#round(signal),
      onFailure: (error) => this.#failed(error),
      timers: options.timers,
    });
  }

  /** Once the mirror serves. */
  start(): void {
    this.#rounds.start();
  }

  /** No patch begins any more, and when it resolves none is under way. Idempotent, and for one that never started too. */
  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** @returns when to look again, in ms */
  async #round(signal: AbortSignal): Promise<number> {
    const { api, nodeName, key, logger } = this.#options;
    if (await removeTaint(api, nodeName, key, signal)) {
      logger.info({ taint: key }, 'the startup taint is removed: Pods may come to this node');
    }
    this.#failures = 0;
    this.#failure = undefined;
    return this.#nextLookMs();
  }

  /** Spread: agents that a roll-out starts together do not ask together. */
  #nextLookMs(): number {
    const { least, most } = LATER_LOOK_MS;
    const lookMs = this.#lookMs;
    if (lookMs > LAST_LOOK_MS) return least + (most - least) * this.#random();
    this.#lookMs *= 2;
    return lookMs * (0.5 + this.#random());
  }

  #failed(error: unknown): number {
    const { upstreamStatus: status, retryAfterMs = 0 } = hasCode(error, 'KUBERNETES_UNAVAILABLE') ? error : {};
    const waitMs = Math.max(
      backOffMs(this.#failures, longestMs(status), this.#random()),
      Math.min(retryAfterMs, LONGEST_WAIT_MS),
    );
    this.#failures += 1;
    if (!isConflict(status) || this.#failures > QUIET_CONFLICTS) this.#complain(error, status);
    return waitMs;
  }

  #random(): number {
    const { random = Math.random } = this.#options;
    return random();
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

function isConflict(status: number | undefined): boolean {
  return status === CONFLICT || status === UNPROCESSABLE;
}

function longestMs(status: number | undefined): number {
  if (isConflict(status)) return LONGEST_CONFLICT_MS;
  return status === FORBIDDEN || status === NOT_FOUND ? LONGEST_REFUSED_MS : LONGEST_WAIT_MS;
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
