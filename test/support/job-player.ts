import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeApiserver } from './kube-apiserver.ts';
import type { KubeObject } from './kube-objects.ts';

/**
 * Stands in for the controllers and the kubelet, which an API server alone has not: does what each Job of a namespace is
 * for, and says that it is complete.
 */
export class JobPlayer implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly #api: KubeApiserver;
  readonly #path: string;
  readonly #play: (job: KubeObject) => Promise<void>;

  /** @param play if it rejects, the Job fails, and so does the end of this */
  constructor(api: KubeApiserver, namespace: string, play: (job: KubeObject) => Promise<void>) {
    this.#api = api;
    this.#path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
    this.#play = play;
    this.#done = this.#run();
    // It is told at the end.
    this.#done.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const { items } = JSON.parse(await this.#api.must('GET', this.#path));
      for (const job of items as KubeObject[]) {
        if (job.status.conditions !== undefined) continue;
        // Of a list the items have no kind of their own.
        await this.#end({ ...job, apiVersion: 'batch/v1', kind: 'Job' });
      }
      await sleep(50);
    }
  }

  async #end(job: KubeObject): Promise<void> {
    let failure: unknown;
    await this.#play(job).catch((error) => {
      failure = error;
    });
    const now = new Date().toISOString();
    const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: now, lastProbeTime: now });
    const [before, after] = failure === undefined ? ['SuccessCriteriaMet', 'Complete'] : ['FailureTarget', 'Failed'];
    const status = {
      startTime: now,
      ...(failure === undefined ? { completionTime: now, succeeded: 1 } : { failed: 1 }),
      ready: 0,
      terminating: 0,
      uncountedTerminatedPods: {},
      conditions: [condition(before), condition(after)],
    };
    await this.#api.must('PUT', `${this.#path}/${job.metadata.name}/status`, { ...job, status });
    if (failure !== undefined) throw failure;
  }
}
