import { Command } from 'commander';
import { apiFailure } from '../kubernetes/api-failure.ts';
import { removeSecret } from '../kubernetes/remove-secret.ts';
import { retried } from '../kubernetes/retried.ts';
import {
  PodCommand,
  type PodCommandOptions,
  parseNamespace,
  parseObjectName,
  sayOnce,
  timeoutOption,
} from './pod-command.ts';

const DEFAULT_TIMEOUT = '1m';

const RIGHTS = `
The Pod's service account needs one Role, in the Secret's namespace:
  - { apiGroups: [""], resources: [secrets], resourceNames: [NAME], verbs: [get, delete] }
`;

const WORDS = {
  removed: 'is removed',
  absent: 'is not there',
  foreign: 'was not made by windlass make-secret, and stays',
} as const;

interface RemoveSecretFlags {
  readonly name: string;
  readonly namespace?: string;
  readonly timeout: number;
}

export function removeSecretCommand(options: PodCommandOptions = {}): Command {
  return new Command('remove-secret')
    .description("In a Job of the chart: removes the cluster's secret if windlass make-secret made it.")
    .requiredOption('--name <name>', 'of the Secret', parseObjectName)
    .option('--namespace <namespace>', "of the Secret (default: the Pod's)", parseNamespace)
    .addOption(timeoutOption('how long to try while the API server cannot be reached', DEFAULT_TIMEOUT))
    .addHelpText('after', RIGHTS)
    .action(async ({ name, namespace, timeout: timeoutMs }: RemoveSecretFlags) => {
      using pod = new PodCommand('remove-secret', namespace, options);
      const { api, timers, signal } = pod;
      const at = { namespace: pod.namespace, name };
      const once = async () => {
        const done = await removeSecret(api, at, signal);
        if (done === 'changed') throw apiFailure(`the Secret ${at.namespace}/${name} became another one meanwhile`);
        return done;
      };
      const done = await retried(once, { timeoutMs, timers, signal, onFailure: sayOnce() });
      process.stdout.write(`the Secret ${at.namespace}/${name} ${WORDS[done]}\n`);
    });
}
