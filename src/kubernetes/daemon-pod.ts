import { z } from 'zod';
import { apiNonsense } from './api-failure.ts';
import type { DaemonSet } from './daemon-set.ts';
import type { KubeApi } from './kube-api.ts';
import { nodeRulesSchema, targetOf } from './node-rules.ts';
import { listAll } from './paged.ts';

/** A Pod that a DaemonSet has on a node, or wants to have. */
export interface DaemonPod {
  readonly node: string;
  readonly name: string;
  /** Why it is not ready; undefined: it is. */
  readonly notReady: string | undefined;
}

const waitingSchema = z.object({ reason: z.string().nullish(), message: z.string().nullish() });
const terminatedSchema = z.object({
  exitCode: z.number(),
  reason: z.string().nullish(),
  message: z.string().nullish(),
});
const stateSchema = z.object({ waiting: waitingSchema.nullish(), terminated: terminatedSchema.nullish() });
const containerSchema = z.object({
  name: z.string(),
  state: stateSchema.nullish(),
  lastState: stateSchema.nullish(),
});
const conditionSchema = z.object({ type: z.string(), status: z.string(), message: z.string().nullish() });
const schema = z.object({
  metadata: z.object({
    name: z.string(),
    deletionTimestamp: z.string().nullish(),
    ownerReferences: z.array(z.object({ uid: z.string() })).nullish(),
  }),
  spec: nodeRulesSchema.extend({ nodeName: z.string().nullish() }),
  status: z
    .object({
      phase: z.string().nullish(),
      reason: z.string().nullish(),
      message: z.string().nullish(),
      conditions: z.array(conditionSchema).nullish(),
      initContainerStatuses: z.array(containerSchema).nullish(),
      containerStatuses: z.array(containerSchema).nullish(),
    })
    .nullish(),
});

type Pod = z.output<typeof schema>;
type Container = z.output<typeof containerSchema>;

/** Those that go away are left out. */
export async function listDaemonPods(
  api: Pick<KubeApi, 'json'>,
  namespace: string,
  { uid, selector }: DaemonSet,
  signal: AbortSignal,
): Promise<readonly DaemonPod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = await listAll(api, path, { labelSelector: selector }, readPod, signal);
  return pods.filter((pod) => isOf(pod, uid)).flatMap(daemonPod);
}

function readPod(item: unknown): Pod {
  const { data } = schema.safeParse(item);
  if (data === undefined) throw apiNonsense('what is no Pod');
  return data;
}

function isOf({ metadata }: Pod, uid: string): boolean {
  return !metadata.deletionTimestamp && (metadata.ownerReferences ?? []).some((owner) => owner.uid === uid);
}

function daemonPod(pod: Pod): DaemonPod[] {
  const node = pod.spec.nodeName || targetOf(pod.spec);
  return node === undefined ? [] : [{ node, name: pod.metadata.name, notReady: notReady(pod) }];
}

function notReady({ status }: Pod): string | undefined {
  const condition = (wanted: string) => status?.conditions?.find(({ type }) => type === wanted);
  if (condition('Ready')?.status === 'True') return undefined;
  const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const fault = containers.map(faultOf).find((text) => text !== undefined);
  if (fault !== undefined) return fault;
  const scheduled = condition('PodScheduled');
  const unscheduled = scheduled?.status === 'False' ? scheduled.message : undefined;
  return said(status?.reason, status?.message) || unscheduled || `it is ${status?.phase ?? 'Pending'}`;
}

/** What the container ended with says more than that it is started again. */
function faultOf({ name, state, lastState }: Container): string | undefined {
  const ended = [state?.terminated, lastState?.terminated].find((one) => one && one.exitCode !== 0);
  if (ended)
    return `${name} ended with ${ended.exitCode}: ${oneLine(ended.message || ended.reason || 'no reason given')}`;
  // How every container begins.
  const waiting = ['PodInitializing', 'ContainerCreating'].includes(state?.waiting?.reason ?? '');
  const why = said(state?.waiting?.reason, state?.waiting?.message);
  return waiting || why === '' ? undefined : `${name} waits: ${why}`;
}

function said(...parts: readonly (string | null | undefined)[]): string {
  return oneLine(parts.filter(Boolean).join(': '));
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' | ');
}
