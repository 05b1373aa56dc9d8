import { Command } from 'commander';
import { awaitRollout, type Rollout } from '../kubernetes/rollout.ts';
import {
  PodCommand,
  type PodCommandOptions,
  parseNamespace,
  parseObjectName,
  sayOnce,
  timeoutOption,
  withRights,
} from './pod-command.ts';

/** Some nodes could not be reached. */
const EXIT_LEFT = 3;
/** Less than Helm waits for a hook by default. */
const DEFAULT_TIMEOUT = '4m';

const RIGHTS = `
Exit code 0: all nodes are cleaned up. 3: not all, and those are named; or none was selected. 1: it could not be found out.

The Pod's service account needs, in the DaemonSet's namespace and (nodes) in the cluster:
  - { apiGroups: [apps], resources: [daemonsets], resourceNames: [NAME], verbs: [get] }
  - { apiGroups: [""], resources: [pods], verbs: [list] }
  - { apiGroups: [""], resources: [nodes], verbs: [list] }
`;

interface AwaitCleanupFlags {
  readonly daemonset: string;
  readonly namespace?: string;
  readonly timeout: number;
}

export function awaitCleanupCommand(options: PodCommandOptions = {}): Command {
  return new Command('await-cleanup')
    .description(
      'In a Job of the chart: waits until each node has a Pod of the clean-up DaemonSet that is ready, and names those that have not.',
    )
    .requiredOption(
      '--daemonset <name>',
      'whose Pods run windlass cleanup --tombstone, and are ready then',
      parseObjectName,
    )
    .option('--namespace <namespace>', "of the DaemonSet (default: the Pod's)", parseNamespace)
    .addOption(timeoutOption('how long to wait at most; nodes that are down are waited for 30 s', DEFAULT_TIMEOUT))
    .addHelpText('after', RIGHTS)
    .action(async ({ daemonset: name, namespace, timeout }: AwaitCleanupFlags) => {
      using pod = new PodCommand('await-cleanup', namespace, options);
      const rollout = await awaitRollout(pod.api, {
        namespace: pod.namespace,
        name,
        timeoutMs: timeout,
        timers: pod.timers,
        signal: pod.signal,
        onProgress: ({ desired, ready }) => say(`${ready} of ${desired} nodes are cleaned up`),
        onFailure: sayOnce(),
      }).catch((error) => {
        throw withRights(error, rightsTo(name, pod.namespace));
      });
      report(rollout);
    });
}

function rightsTo(name: string, namespace: string): string {
  return `get of the DaemonSet ${name} and list of pods, by a Role in the namespace ${namespace}, and list of nodes, by a ClusterRole`;
}

function report({ desired, ready, unreached, isNoneSelected, stale }: Rollout): void {
  if (stale !== undefined) say(`this is what was found before the API server failed: ${stale.message}`);
  for (const { node, why } of unreached) say(`not cleaned up: ${node}: ${why}`);
  const missing = Math.max(desired - ready, unreached.length);
  if (missing > unreached.length) say(`not cleaned up: ${missing - unreached.length} more, which cannot be named`);
  if (isNoneSelected) say('no node is cleaned up: there are nodes, and the DaemonSet selects none of them');
  if (missing === 0 && !isNoneSelected) return;
  process.exitCode = EXIT_LEFT;
  if (missing > 0)
    say(
      'Pulls go on there without the mirror. Once such a node is back, windlass cleanup, as root, makes it as it was.',
    );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
