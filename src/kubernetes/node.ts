import { z } from 'zod';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';
import { listAll } from './paged.ts';

export interface Node {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Why its kubelet is not heard, or says that it cannot run Pods; undefined: it is ready. */
  readonly notReady: string | undefined;
}

const schema = z.object({
  metadata: z.object({ name: z.string(), labels: z.record(z.string(), z.string()).nullish() }),
  status: z
    .object({
      conditions: z
        .array(
          z.object({
            type: z.string(),
            status: z.string(),
            reason: z.string().nullish(),
            message: z.string().nullish(),
          }),
        )
        .nullish(),
    })
    .nullish(),
});

export function listNodes(api: Pick<KubeApi, 'json'>, signal: AbortSignal): Promise<readonly Node[]> {
  return listAll(api, '/api/v1/nodes', {}, readNode, signal);
}

function readNode(item: unknown): Node {
  const { data } = schema.safeParse(item);
  if (data === undefined) throw apiNonsense('a Node without a name');
  const { metadata, status } = data;
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const why = ready?.message || ready?.reason || 'its kubelet has said nothing';
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    notReady: ready?.status === 'True' ? undefined : why,
  };
}
