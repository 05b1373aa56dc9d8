import { eventually } from '../../support/eventually.ts';
import type { KubeCluster } from './kube-cluster.ts';

const PATIENCE_MS = 240_000;

/** A DaemonSet of that name whose Pods sleep: an image that every node has to have. */
export function daemonSet(name: string, image: string): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%' } },
      template: { metadata: { labels }, spec: sleeper(image) },
    },
  };
}

/** On that node; its kubelet asks for the tag although the image may be there. */
export function pod(name: string, image: string, node: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { ...sleeper(image, 'Always'), nodeName: node },
  };
}

function sleeper(image: string, imagePullPolicy = 'IfNotPresent'): object {
  return {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'sleep', image, imagePullPolicy, command: ['/bin/busybox', 'sleep', '100000'] }],
  };
}

/** Until all Pods of it that there should be are of its newest version, and run. */
export async function rolledOut(cluster: KubeCluster, name: string, namespace = 'default'): Promise<void> {
  const seconds = PATIENCE_MS / 1_000;
  await cluster.kubectl('-n', namespace, 'rollout', 'status', `daemonset/${name}`, `--timeout=${seconds}s`);
}

/** Until Pods of that image are ready on these nodes, whatever becomes of others. */
export async function runsOn(
  cluster: KubeCluster,
  app: string,
  nodes: readonly string[],
  image: string,
): Promise<void> {
  let seen: readonly string[] = [];
  await eventually(
    async () => {
      seen = await readyOn(cluster, app, image);
      return nodes.every((node) => seen.includes(node));
    },
    { timeoutMs: PATIENCE_MS, everyMs: 200, what: () => `${image} on ${nodes.join(' ')}; it is on ${seen.join(' ')}` },
  );
}

async function readyOn(cluster: KubeCluster, app: string, image: string): Promise<string[]> {
  const { items }: { items: PodObject[] } = JSON.parse(
    await cluster.kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'json'),
  );
  const ready = items.filter(
    ({ spec, status }) =>
      spec.containers[0]?.image === image && status.containerStatuses?.every((container) => container.ready) === true,
  );
  return ready.map(({ spec }) => spec.nodeName ?? '').sort();
}

/** What kubelets said of pulls that failed, in the default namespace. */
export async function failedPulls(cluster: KubeCluster): Promise<string[]> {
  const { items }: { items: { readonly reason: string; readonly message: string }[] } = JSON.parse(
    await cluster.kubectl('get', 'events', '-o', 'json'),
  );
  return items.flatMap(({ reason, message }) => (reason === 'Failed' && /pull/i.test(message) ? [message] : []));
}

interface PodObject {
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly image: string }[] };
  readonly status: { readonly containerStatuses?: readonly { readonly ready: boolean }[] };
}
