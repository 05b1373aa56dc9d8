import { z } from 'zod';
import { hasCode, WindlassError } from '../errors.ts';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';
import { labelSelectorSchema, labelSelectorText } from './label-selector.ts';
import { type NodeRules, nodeRulesSchema } from './node-rules.ts';

export interface DaemonSet {
  readonly uid: string;
  /** Of its Pods, as a query has it. */
  readonly selector: string;
  readonly rules: NodeRules;
  /** Its controller knows it as it is now: the numbers count. */
  readonly isObserved: boolean;
  /** Nodes that should have a Pod. */
  readonly desired: number;
  /** Those of them that have one that is ready, and made as the DaemonSet has it now. */
  readonly ready: number;
}

const schema = z.object({
  metadata: z.object({ uid: z.string(), generation: z.number() }),
  spec: z.object({ selector: labelSelectorSchema, template: z.object({ spec: nodeRulesSchema }) }),
  status: z
    .object({
      observedGeneration: z.number().nullish(),
      desiredNumberScheduled: z.number().nullish(),
      updatedNumberScheduled: z.number().nullish(),
      numberReady: z.number().nullish(),
    })
    .nullish(),
});

/** @throws OBJECT_UNUSABLE if there is none */
export async function readDaemonSet(
  api: Pick<KubeApi, 'json'>,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<DaemonSet> {
  const answer = await api
    .json({ path: `/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}` }, signal)
    .catch((error) => {
      if (!hasCode(error, 'KUBERNETES_UNAVAILABLE') || error.upstreamStatus !== 404) throw error;
      throw new WindlassError('OBJECT_UNUSABLE', `there is no DaemonSet ${namespace}/${name}`, { cause: error });
    });
  const { data } = schema.safeParse(answer);
  if (data === undefined) throw apiNonsense('what is no DaemonSet');
  const { metadata, spec, status } = data;
  return {
    uid: metadata.uid,
    selector: labelSelectorText(spec.selector),
    rules: spec.template.spec,
    isObserved: (status?.observedGeneration ?? 0) >= metadata.generation,
    desired: status?.desiredNumberScheduled ?? 0,
    ready: Math.min(status?.numberReady ?? 0, status?.updatedNumberScheduled ?? 0),
  };
}
