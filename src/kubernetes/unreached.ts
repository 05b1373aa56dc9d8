import type { DaemonPod } from './daemon-pod.ts';
import type { DaemonSet } from './daemon-set.ts';
import type { Node } from './node.ts';
import { mayRunOn } from './node-rules.ts';

/** A node on which a DaemonSet has no Pod that is ready. */
export interface Unreached {
  readonly node: string;
  readonly why: string;
  /** Nothing can be done there before the node is back. */
  readonly isNodeDown: boolean;
}

/** By name. Nodes that are gone have nothing left to be reached, and those that it no longer selects need no Pod. */
export function unreached(
  { rules, desired }: DaemonSet,
  pods: readonly DaemonPod[],
  nodes: readonly Node[],
): readonly Unreached[] {
  const chosen = nodes.filter((node) => mayRunOn(rules, node));
  const byNode = Map.groupBy(pods, ({ node }) => node);
  // As long as each of the nodes that should have a Pod has one, no other should.
  const lacksPods = chosen.filter(({ name }) => byNode.has(name)).length < desired;
  return chosen
    .filter(({ name }) => lacksPods || byNode.has(name))
    .flatMap((node) => unreachedNode(node, byNode.get(node.name)) ?? [])
    .sort((a, b) => (a.node < b.node ? -1 : 1));
}

function unreachedNode({ name, down }: Node, pods: readonly DaemonPod[] = []): Unreached | undefined {
  if (pods.some((pod) => pod.notReady === undefined)) return undefined;
  if (down !== undefined) return { node: name, why: `the node is down: ${down}`, isNodeDown: true };
  const [pod] = pods;
  const why = pod === undefined ? 'it has no Pod' : `its Pod ${pod.name} is not ready: ${pod.notReady}`;
  return { node: name, why, isNodeDown: false };
}
