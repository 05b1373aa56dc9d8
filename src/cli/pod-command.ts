import { InvalidArgumentError, Option } from 'commander';
import { isNamespaceName, isObjectName } from '../config/object-name.ts';
import { parseDuration } from '../config/units.ts';
import { hasCode, WindlassError } from '../errors.ts';
import { KubeApi } from '../kubernetes/kube-api.ts';
import { accessOf, podNamespace, requirePod } from '../kubernetes/pod.ts';
import { commandTimers } from '../time/timers.ts';
import { type SignalSource, StopSignals } from './stop-signals.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** For tests. */
export interface PodCommandOptions {
  /** What stands for `/`. */
  readonly podRoot?: string;
  readonly signals?: SignalSource<(typeof SIGNALS)[number]>;
}

/** What the commands have in common that Jobs of the chart run. */
export class PodCommand implements Disposable {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly timers = commandTimers;
  readonly #stopping = new AbortController();
  readonly #listening: Disposable;

  /**
   * @param namespace undefined: that of the Pod
   * @throws INVALID_SETTINGS outside of a Pod
   */
  constructor(name: string, namespace: string | undefined, { podRoot = '', signals = process }: PodCommandOptions) {
    const lead = `windlass ${name}`;
    requirePod(lead, 'it is for Jobs in the cluster');
    this.namespace = namespace ?? podNamespace(podRoot, lead, 'name it: --namespace NAMESPACE');
    this.api = new KubeApi({ loadAccess: accessOf(podRoot), timers: commandTimers });
    // The first process of a container is ended by a signal only if it listens.
    this.#listening = new StopSignals(signals, SIGNALS, (signal) => {
      this.#stopping.abort(new WindlassError('STOPPING', `ended by ${signal}`));
    });
  }

  /** Aborted, with STOPPING, when somebody wants it to end. */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
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

/** The failure; where it is a 403, it says which rights are needed. */
export function withRights(error: unknown, rights: string): unknown {
  if (!hasCode(error, 'KUBERNETES_UNAVAILABLE') || error.upstreamStatus !== 403) return error;
  return new WindlassError('KUBERNETES_UNAVAILABLE', `${error.message}. The service account needs ${rights}`, {
    cause: error,
    upstreamStatus: 403,
  });
}

function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError('write a time above 0, such as 30s or 5m');
  return ms;
}
