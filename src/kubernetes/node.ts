import { z } from 'zod';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';
import { listAll } from './paged.ts';

export interface Node {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Why its kubelet is not heard; undefined: it lives, though it may not be ready, and can start Pods. */
  readonly down: string | undefined;
}

const conditionSchema = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().nullish(),
  message: z.string().nullish(),
});
const schema = z.object({
  metadata: z.object({ name: z.string(), labels: z.record(z.string(), z.string()).nullish() }),
  status: z
    .object({
      conditions: z.array(conditionSchema).nullish(),
    })
    .nullish(),
});

type Condition = z.output<typeof conditionSchema>;

export function listNodes(api: Pick<KubeApi, 'json'>, signal: AbortSignal): Promise<readonly Node[]> {
  return listAll(api, '/api/v1/nodes', {}, readNode, signal);
}

function readNode(item: unknown): Node {
  const { data } = schema.safeParse(item);
  if (data === undefined) throw apiNonsense('a Node without a name');
  const { metadata, status } = data;
  return { name: metadata.name, labels: metadata.labels ?? {}, down: downOf(status?.conditions ?? []) };
}

function downOf(conditions: readonly Condition[]): string | undefined {
  const ready = conditions.find(({ type }) => type === 'Ready');
  if (ready === undefined) return 'its kubelet has said nothing';
  return ready.status === 'Unknown' ? ready.message || ready.reason || 'its kubelet is not heard' : undefined;
}
