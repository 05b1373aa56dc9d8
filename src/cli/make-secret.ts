import { Command, InvalidArgumentError } from 'commander';
import { isDataKey } from '../config/object-name.ts';
import { WindlassError } from '../errors.ts';
import { apiFailure } from '../kubernetes/api-failure.ts';
import { retried } from '../kubernetes/retried.ts';
import { createSecret, readSecret, type SecretKey } from '../kubernetes/secret.ts';
import { freshSecret, parseSecret } from '../routing/secret-contents.ts';
import {
  PodCommand,
  type PodCommandOptions,
  parseNamespace,
  parseObjectName,
  sayOnce,
  timeoutOption,
  withRights,
} from './pod-command.ts';

const DEFAULT_KEY = 'secret';
/** Less than Helm waits for a hook by default. */
const DEFAULT_TIMEOUT = '4m';

const RIGHTS = `
The Pod's service account needs one Role, in the Secret's namespace:
  - { apiGroups: [""], resources: [secrets], resourceNames: [NAME], verbs: [get, create, patch] }
`;

interface MakeSecretFlags {
  readonly name: string;
  readonly namespace?: string;
  readonly key: string;
  readonly timeout: number;
}

export function makeSecretCommand(options: PodCommandOptions = {}): Command {
  return new Command('make-secret')
    .description(
      "In a Job of the chart: makes the cluster's secret if there is none. One that is there stays as it is.",
    )
    .requiredOption('--name <name>', 'of the Secret', parseObjectName)
    .option('--namespace <namespace>', "of the Secret (default: the Pod's)", parseNamespace)
    .option('--key <key>', 'of the secret within the Secret', parseKey, DEFAULT_KEY)
    .addOption(timeoutOption('how long to try while the API server cannot be reached', DEFAULT_TIMEOUT))
    .addHelpText('after', RIGHTS)
    .action(async ({ name, namespace, key, timeout }: MakeSecretFlags) => {
      using pod = new PodCommand('make-secret', namespace, options);
      const at = { namespace: pod.namespace, name, key };
      const isMade = await makeSecret(pod, at, timeout);
      process.stdout.write(`the Secret ${show(at)} ${isMade ? 'is made' : 'is there, and stays as it is'}\n`);
    });
}

/** @returns whether it was made; else there was one */
async function makeSecret({ api, timers, signal }: PodCommand, at: SecretKey, timeoutMs: number): Promise<boolean> {
  const value = freshSecret();
  const once = async () => {
    if (await isThere(api, at, signal)) return false;
    if (await createSecret(api, at, value, signal)) return true;
    // Another Job was faster. What it made is looked at the next time: it must do as well.
    throw apiFailure(`the Secret ${show(at)} was made by somebody else meanwhile`);
  };
  try {
    return await retried(once, { timeoutMs, timers, signal, onFailure: sayOnce() });
  } catch (error) {
    throw withRights(error, rightsTo(at));
  }
}

/** @throws OBJECT_UNUSABLE if it is there, and no secret of a cluster */
async function isThere(api: PodCommand['api'], at: SecretKey, signal: AbortSignal): Promise<boolean> {
  const secret = await readSecret(api, at, signal);
  if (secret === undefined) return false;
  const why = secret.value === undefined ? `has no key ${at.key}` : faultOf(secret.value);
  if (why === undefined) return true;
  throw new WindlassError(
    'OBJECT_UNUSABLE',
    `the Secret ${show(at)} is there and ${why}. It is left as it is: put a secret into it (head -c 32 /dev/urandom | base64), or delete it and try again`,
  );
}

function faultOf(value: Buffer): string | undefined {
  try {
    parseSecret(value);
    return undefined;
  } catch (error) {
    return `its value ${(error as Error).message}`;
  }
}

function rightsTo({ namespace, name }: SecretKey): string {
  return `get, create and patch of secrets with resourceNames [${name}], by a Role in the namespace ${namespace}`;
}

function parseKey(text: string): string {
  if (!isDataKey(text)) throw new InvalidArgumentError('write letters, digits, -, _ and .');
  return text;
}

function show({ namespace, name, key }: SecretKey): string {
  return `${namespace}/${name} (key ${key})`;
}
