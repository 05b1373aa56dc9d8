import { InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../config/units.ts';
import type { WindlassError } from '../errors.ts';
import { KubeApi } from '../kubernetes/kube-api.ts';
import { isNamespaceName, isObjectName } from '../kubernetes/object-name.ts';
import { accessOf, podNamespace, requirePod } from '../kubernetes/pod.ts';
import type { Timers } from '../kubernetes/timers.ts';

/** What the commands have in common that Jobs of the chart run. */
export interface PodCommand {
  readonly api: KubeApi;
  readonly timers: Timers;
  readonly namespace: string;
}

/** Unlike an agent's: a command that waits is not over. */
const commandTimers: Timers = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * @param podRoot what stands for `/`; not empty in tests
 * @param namespace undefined: that of the Pod
 * @throws INVALID_SETTINGS outside of a Pod
 */
export function podCommand(name: string, podRoot: string, namespace: string | undefined): PodCommand {
  requirePod(`windlass ${name}`, 'it is for Jobs in the cluster');
  return {
    api: new KubeApi({ loadAccess: accessOf(podRoot), timers: commandTimers }),
    timers: commandTimers,
    namespace: namespace ?? podNamespace(podRoot, `windlass ${name}`, 'name it: --namespace NAMESPACE'),
  };
}

export function parseObjectName(text: string): string {
  if (!isObjectName(text)) throw new InvalidArgumentError('write a name as Kubernetes has them, in lower case');
  return text;
}

export function parseNamespace(text: string): string {
  if (!isNamespaceName(text)) throw new InvalidArgumentError('write the name of a namespace, in lower case');
  return text;
}

/** `--timeout`, in ms. */
export function timeoutOption(what: string, standard: string): Option {
  return new Option('--timeout <time>', what).argParser(parseTimeout).default(parseTimeout(standard), standard);
}

/** For failures that are tried again: each once, while it lasts. */
export function sayOnce(): (error: WindlassError) => void {
  let said: string | undefined;
  return ({ message }) => {
    if (message !== said) process.stderr.write(`trying again: ${message}\n`);
    said = message;
  };
}

function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError('write a time above 0, such as 30s or 5m');
  return ms;
}
