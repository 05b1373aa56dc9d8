import { z } from 'zod';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';

/** Whatever else a taint has stays in it: it must be equal to be removed. */
const taintSchema = z.looseObject({ key: z.string() });
const nodeSchema = z.object({ spec: z.object({ taints: z.array(taintSchema).nullish() }).nullish() });

interface Step {
  readonly op: 'test' | 'remove';
  readonly path: string;
  readonly value?: unknown;
}

/**
 * Removes all taints of that key from a Node. Those of others stay, whatever they are by then: each is removed from
 * its place only if it is what stands there (else the API server answers 422).
 *
 * The Node is read by a patch of nothing, which changes nothing: admission policies, which can narrow what is patched
 * to one's own Node, never see what is got.
 * @returns false: there were none
 */
export async function removeTaint(
  api: Pick<KubeApi, 'json'>,
  nodeName: string,
  key: string,
  signal: AbortSignal,
): Promise<boolean> {
  const patch = (steps: readonly Step[]) =>
    api.json(
      {
        method: 'PATCH',
        path: `/api/v1/nodes/${encodeURIComponent(nodeName)}`,
        query: { fieldManager: 'windlass' },
        body: { type: 'application/json-patch+json', value: steps },
      },
      signal,
    );
  const { data: node } = nodeSchema.safeParse(await patch([]));
  if (node === undefined) throw apiNonsense('what is no Node');
  const steps = stepsOf(node.spec?.taints ?? [], key);
  if (steps.length === 0) return false;
  await patch(steps);
  return true;
}

/** The last one first: it moves none of those before it. */
function stepsOf(taints: readonly z.output<typeof taintSchema>[], key: string): Step[] {
  return taints
    .flatMap((taint, index): Step[][] => {
      const path = `/spec/taints/${index}`;
      return taint.key === key
        ? [
            [
              { op: 'test', path, value: taint },
              { op: 'remove', path },
            ],
          ]
        : [];
    })
    .reverse()
    .flat();
}
