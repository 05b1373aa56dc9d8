import { hasCode, WindlassError } from '../errors.ts';
import { sleep } from '../time/sleep.ts';
import type { Timers } from '../time/timers.ts';
import { apiFailure } from './api-failure.ts';
import { listDaemonPods } from './daemon-pod.ts';
import { type DaemonSet, readDaemonSet } from './daemon-set.ts';
import type { KubeApi } from './kube-api.ts';
import { listNodes } from './node.ts';
import { retried } from './retried.ts';
import { type Unreached, unreached } from './unreached.ts';

const POLL_MS = 2_000;
/** Pods and nodes are long lists where clusters are large. */
const SURVEY_MS = 15_000;
/** When only nodes that are down are left, none of them is waited for longer than it takes to start a kubelet anew. */
const DOWN_MS = 30_000;
/** For what is asked at the end: Helm, which waits a minute longer than await-cleanup, is to see the answer. */
const LAST_MS = 20_000;

export interface Rollout {
  /** Nodes that should have a Pod. */
  readonly desired: number;
  /** Those that have one that is ready. */
  readonly ready: number;
  /** The others, as far as they can be named. */
  readonly unreached: readonly Unreached[];
  /** There are nodes, and it is to have a Pod on none of them. */
  readonly isNoneSelected: boolean;
  /** Why this is not what there was at the end, but what was found before. */
  readonly stale?: WindlassError;
}

export interface RolloutOptions {
  readonly namespace: string;
  readonly name: string;
  readonly timeoutMs: number;
  readonly timers: Timers;
  readonly signal: AbortSignal;
  /** Each time that the numbers are others. */
  readonly onProgress: (numbers: Pick<Rollout, 'desired' | 'ready'>) => void;
  readonly onFailure: (error: WindlassError) => void;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
}

/**
 * Waits until a DaemonSet has a Pod that is ready on each of its nodes, until all others of them are down, or until the
 * time is over (and LAST_MS longer, while an API server answers slowly).
 * @throws OBJECT_UNUSABLE if there is no such DaemonSet, or nothing controls it; KUBERNETES_UNAVAILABLE if nothing was
 * found out before it was
 */
export async function awaitRollout(api: Pick<KubeApi, 'json'>, options: RolloutOptions): Promise<Rollout> {
  const { timeoutMs, timers, signal } = options;
  const tooLate = new AbortController();
  const cancel = timers.after(timeoutMs + LAST_MS, () =>
    tooLate.abort(apiFailure('the API server answers too slowly')),
  );
  const bound = { ...options, signal: AbortSignal.any([signal, tooLate.signal]) };
  let latest: Rollout | undefined;
  try {
    return await follow(api, bound, (found) => {
      latest = found;
    });
  } catch (error) {
    if (latest === undefined || !hasCode(error, 'KUBERNETES_UNAVAILABLE')) throw error;
    return { ...latest, stale: error };
  } finally {
    cancel();
  }
}

/** @param onFound each time that it has looked at all nodes */
async function follow(
  api: Pick<KubeApi, 'json'>,
  options: RolloutOptions,
  onFound: (found: Rollout) => void,
): Promise<Rollout> {
  const { namespace, name, timeoutMs, timers, signal, onProgress } = options;
  const endMs = timers.now() + timeoutMs;
  const ask = <T>(call: () => Promise<T>) => retried(call, { ...options, timeoutMs: endMs - timers.now() });
  let told = '';
  let surveyMs = timers.now();
  let downSinceMs: number | undefined;
  for (;;) {
    const set = await ask(() => readDaemonSet(api, namespace, name, signal));
    const { desired, ready, isObserved } = set;
    if (isObserved && told !== `${ready} of ${desired}`) {
      told = `${ready} of ${desired}`;
      onProgress({ desired, ready });
    }
    if (isObserved && ready >= desired) {
      const isNoneSelected = desired === 0 && (await ask(() => listNodes(api, signal))).length > 0;
      return { desired, ready, unreached: [], isNoneSelected };
    }
    const isOver = timers.now() >= endMs;
    if (isOver && !isObserved) throw uncontrolled(namespace, name);
    if (isOver || timers.now() >= surveyMs) {
      const left = await ask(() => survey(api, namespace, set, signal));
      const found = { desired, ready, unreached: left, isNoneSelected: false };
      if (isOver) return found;
      if (isObserved) onFound(found);
      downSinceMs = areAllDown(set, left) ? (downSinceMs ?? timers.now()) : undefined;
      if (downSinceMs !== undefined && timers.now() - downSinceMs >= DOWN_MS) return found;
      surveyMs = timers.now() + SURVEY_MS;
    }
    await sleep(Math.min(POLL_MS, Math.max(0, endMs - timers.now())), signal, timers);
  }
}

async function survey(
  api: Pick<KubeApi, 'json'>,
  namespace: string,
  set: DaemonSet,
  signal: AbortSignal,
): Promise<readonly Unreached[]> {
  return unreached(set, await listDaemonPods(api, namespace, set, signal), await listNodes(api, signal));
}

function areAllDown({ isObserved, desired, ready }: DaemonSet, left: readonly Unreached[]): boolean {
  return isObserved && left.length >= desired - ready && left.every(({ isNodeDown }) => isNodeDown);
}

function uncontrolled(namespace: string, name: string): WindlassError {
  return new WindlassError(
    'OBJECT_UNUSABLE',
    `the DaemonSet ${namespace}/${name} has no Pods and no numbers: does kube-controller-manager run?`,
  );
}
