import { beforeEach, describe, expect, test } from 'vitest';
import { apiFailure } from '../../../src/kubernetes/api-failure.ts';
import type { KubeApi, KubeRequest } from '../../../src/kubernetes/kube-api.ts';
import { awaitRollout, type Rollout } from '../../../src/kubernetes/rollout.ts';
import { sleep } from '../../../src/time/sleep.ts';
import { EventQueue } from '../../support/event-queue.ts';

const DOWN = 'Kubelet stopped posting node status.';
const MINUTES = 60_000;

interface FakePod {
  readonly node: string;
  readonly status?: object;
  readonly isScheduled?: boolean;
  readonly uid?: string;
  readonly isLeaving?: boolean;
}

interface FakeNode {
  readonly isReady: boolean;
  readonly labels?: object;
  /** Its conditions, where they are not those of a node that is ready, or down. */
  readonly conditions?: readonly object[];
}

/** What an API server tells of one DaemonSet, as the test has it. */
class FakeCluster implements Pick<KubeApi, 'json'> {
  readonly nodes = new Map<string, FakeNode>();
  pods: FakePod[] = [];
  numbers = { observedGeneration: 2, desiredNumberScheduled: 0, updatedNumberScheduled: 0, numberReady: 0 };
  failure: Error | undefined;
  readonly asked: string[] = [];

  async json({ path, query = {} }: KubeRequest, _signal: AbortSignal): Promise<unknown> {
    this.asked.push(path);
    if (this.failure !== undefined) throw this.failure;
    if (path === '/apis/apps/v1/namespaces/ns/daemonsets/clean') return this.#daemonSet();
    if (path === '/api/v1/nodes')
      return page(
        [...this.nodes].map(([name, node]) => nodeOf(name, node)),
        query,
      );
    expect([path, query.labelSelector]).toEqual(['/api/v1/namespaces/ns/pods', 'app=clean']);
    return page(this.pods.map(podOf), query);
  }

  #daemonSet() {
    const spec = { selector: { matchLabels: { app: 'clean' } }, template: { spec: { nodeSelector: { os: 'linux' } } } };
    return { metadata: { uid: 'ours', generation: 2 }, spec, status: this.numbers };
  }

  /** Of those that should have a Pod so many have one that is ready. */
  count(desired: number, ready: number, updated = desired): void {
    this.numbers = {
      observedGeneration: 2,
      desiredNumberScheduled: desired,
      updatedNumberScheduled: updated,
      numberReady: ready,
    };
  }
}

let cluster: FakeCluster;
let clock: EventQueue;
let progress: string[];
let failures: string[];
beforeEach(() => {
  cluster = new FakeCluster();
  clock = new EventQueue();
  [progress, failures] = [[], []];
});

function start(timeoutMs = 5 * MINUTES) {
  const outcome: { rollout?: Rollout; error?: unknown } = {};
  void awaitRollout(cluster, {
    namespace: 'ns',
    name: 'clean',
    timeoutMs,
    timers: clock,
    signal: new AbortController().signal,
    onProgress: ({ desired, ready }) => progress.push(`${ready}/${desired}`),
    onFailure: ({ message }) => failures.push(message),
    random: () => 0.5,
  }).then(
    (rollout) => (outcome.rollout = rollout),
    (error) => (outcome.error = error),
  );
  return outcome;
}
const isOver = (outcome: object) => () => Object.keys(outcome).length > 0;
const until = (ms: number, outcome: object = {}) => clock.run(ms, isOver(outcome));

test('is done when all that should have a Pod have one that is ready, of the DaemonSet as it is now', async () => {
  cluster.count(3, 0);
  const outcome = start();
  await until(5_000);
  cluster.count(3, 2);
  await until(9_000);
  cluster.count(3, 3, 2);
  await until(13_000, outcome);
  expect(outcome).toEqual({});
  cluster.count(3, 3);
  await until(16_000, outcome);
  expect(outcome.rollout).toEqual({ desired: 3, ready: 3, unreached: [], isNoneSelected: false });
  expect(progress).toEqual(['0/3', '2/3', '3/3']);
});

test('numbers that the controller has not looked at do not count', async () => {
  cluster.numbers = { ...cluster.numbers, observedGeneration: 1 };
  const outcome = start();
  await until(20_000, outcome);
  expect([outcome, progress]).toEqual([{}, []]);
  cluster.count(0, 0);
  await until(30_000, outcome);
  expect(outcome.rollout).toEqual({ desired: 0, ready: 0, unreached: [], isNoneSelected: false });
});

test.each([
  ['there are none, that is all that there is to do', [], false],
  ['there are some, that is said', ['a'], true],
])('no node should have a Pod: where %s', async (_name, names, isNoneSelected) => {
  for (const name of names) cluster.nodes.set(name, { isReady: true, labels: { os: 'windows' } });
  cluster.count(0, 0);
  const outcome = start();
  await until(MINUTES, outcome);
  expect(outcome.rollout).toEqual({ desired: 0, ready: 0, unreached: [], isNoneSelected });
  expect(clock.now()).toBe(0);
});

test('large lists are asked for now and then, and the numbers alone in between', async () => {
  cluster.count(1, 0);
  start();
  await until(60_000);
  const lists = cluster.asked.filter((path) => path === '/api/v1/nodes');
  expect(lists.length).toBeLessThanOrEqual(5);
  expect(cluster.asked.length - 2 * lists.length).toBeGreaterThanOrEqual(29);
});

describe('at the end of its time', () => {
  const ends = async () => {
    const outcome = start(2 * MINUTES);
    await until(10 * MINUTES, outcome);
    expect(clock.now()).toBe(2 * MINUTES);
    return outcome.rollout?.unreached.map(({ node, why }) => `${node}: ${why}`);
  };
  const container = (name: string, state: object, lastState: object = {}) => ({ name, state, lastState });

  test.each<[string, object, string]>([
    ['is new', {}, 'it is Pending'],
    [
      'is being started',
      { phase: 'Pending', initContainerStatuses: [container('cleanup', { waiting: { reason: 'PodInitializing' } })] },
      'it is Pending',
    ],
    [
      'has no room',
      { conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3 nodes: too many pods' }] },
      '0/3 nodes: too many pods',
    ],
    ['was evicted', { phase: 'Failed', reason: 'Evicted', message: 'low on\n disk' }, 'Evicted: low on | disk'],
    [
      'has no image',
      {
        initContainerStatuses: [container('cleanup', { waiting: { reason: 'ErrImagePull', message: 'no such host' } })],
      },
      'cleanup waits: ErrImagePull: no such host',
    ],
    [
      'failed',
      { initContainerStatuses: [container('cleanup', { terminated: { exitCode: 1, reason: 'Error' } })] },
      'cleanup ended with 1: Error',
    ],
    [
      'fails again and again',
      {
        initContainerStatuses: [
          container(
            'cleanup',
            { waiting: { reason: 'CrashLoopBackOff' } },
            { terminated: { exitCode: 1, message: 'cannot\nwrite\n' } },
          ),
        ],
      },
      'cleanup ended with 1: cannot | write',
    ],
    [
      'fails while it waits',
      {
        initContainerStatuses: [container('cleanup', { terminated: { exitCode: 0 } })],
        containerStatuses: [container('wait', { terminated: { exitCode: 137, reason: 'OOMKilled' } })],
      },
      'wait ended with 137: OOMKilled',
    ],
  ])('a node is named whose Pod %s', async (_name, status, why) => {
    cluster.nodes.set('a', { isReady: true });
    cluster.pods = [{ node: 'a', status }];
    cluster.count(1, 0);
    expect(await ends()).toEqual([`a: its Pod clean-a is not ready: ${why}`]);
  });

  test('nodes are named that are down, whether their Pod is scheduled or not, and those with no Pod', async () => {
    for (const name of ['c', 'b', 'a']) cluster.nodes.set(name, { isReady: name === 'c' });
    cluster.nodes.set('windows', { isReady: true, labels: { os: 'windows' } });
    cluster.pods = [{ node: 'a' }, { node: 'b', isScheduled: false }];
    cluster.count(3, 0);
    expect(await ends()).toEqual([`a: the node is down: ${DOWN}`, `b: the node is down: ${DOWN}`, 'c: it has no Pod']);
  });

  test('nodes that should have none are not, nor nodes that are gone', async () => {
    cluster.nodes.set('a', { isReady: true });
    cluster.nodes.set('tainted', { isReady: true });
    cluster.pods = [{ node: 'a' }, { node: 'gone' }];
    cluster.count(1, 0);
    expect(await ends()).toEqual(['a: its Pod clean-a is not ready: it is Pending']);
  });

  test('Pods of nodes that are gone, or no longer selected, stand for no other node', async () => {
    for (const name of ['a', 'b']) cluster.nodes.set(name, { isReady: true });
    cluster.nodes.set('windows', { isReady: true, labels: { os: 'windows' } });
    cluster.pods = [{ node: 'a' }, { node: 'gone' }, { node: 'windows' }];
    cluster.count(2, 0);
    expect(await ends()).toEqual(['a: its Pod clean-a is not ready: it is Pending', 'b: it has no Pod']);
  });

  test("Pods of others and Pods that go away are nobody's", async () => {
    const status = { conditions: [{ type: 'Ready', status: 'True' }] };
    for (const name of ['a', 'b', 'c']) cluster.nodes.set(name, { isReady: true });
    cluster.pods = [
      { node: 'a', status },
      { node: 'b', status, uid: 'another' },
      { node: 'c', status, isLeaving: true },
    ];
    cluster.count(3, 1);
    expect(await ends()).toEqual(['b: it has no Pod', 'c: it has no Pod']);
  });

  test('all pages of long lists are read', async () => {
    for (let n = 0; n < 1_200; n += 1) cluster.nodes.set(`n${n}`, { isReady: true });
    cluster.pods = [...cluster.nodes.keys()].map((node) => ({ node }));
    cluster.count(1_200, 0);
    expect(await ends()).toHaveLength(1_200);
  });

  test('a DaemonSet that nobody looks after is an error', async () => {
    cluster.numbers = { ...cluster.numbers, observedGeneration: 1 };
    const outcome = start(2 * MINUTES);
    await until(10 * MINUTES, outcome);
    expect(outcome.error).toMatchObject({ code: 'OBJECT_UNUSABLE', message: expect.stringContaining('ns/clean') });
  });
});

describe('nodes that are down', () => {
  beforeEach(() => {
    cluster.nodes.set('a', { isReady: true });
    cluster.nodes.set('b', { isReady: false });
    cluster.pods = [{ node: 'a' }, { node: 'b' }];
    cluster.count(2, 0);
  });
  const reachA = () => {
    cluster.pods = [{ node: 'a', status: { conditions: [{ type: 'Ready', status: 'True' }] } }, { node: 'b' }];
    cluster.count(2, 1);
  };

  test('are not waited for as long as others are, once only they are left', async () => {
    const outcome = start();
    await until(60_000, outcome);
    expect(outcome).toEqual({});
    reachA();
    await until(5 * MINUTES, outcome);
    expect(clock.now()).toBeLessThanOrEqual(60_000 + 2 * 15_000 + 30_000);
    expect(outcome.rollout).toMatchObject({ desired: 2, ready: 1, unreached: [{ node: 'b', isNodeDown: true }] });
  });

  test('that have not said a word yet are down as well', async () => {
    cluster.nodes.set('b', { isReady: false, conditions: [] });
    reachA();
    const outcome = start();
    await until(5 * MINUTES, outcome);
    expect(clock.now()).toBeLessThanOrEqual(2 * 15_000 + 30_000);
    expect(outcome.rollout?.unreached).toMatchObject([{ why: 'the node is down: its kubelet has said nothing' }]);
  });

  test('that are only not ready, their kubelet lives, are none: they are waited for to the end', async () => {
    const network = {
      type: 'Ready',
      status: 'False',
      reason: 'KubeletNotReady',
      message: 'cni plugin not initialized',
    };
    cluster.nodes.set('b', { isReady: false, conditions: [network] });
    reachA();
    const outcome = start();
    await until(4 * MINUTES, outcome);
    expect(outcome).toEqual({});
    await until(10 * MINUTES, outcome);
    expect(clock.now()).toBe(5 * MINUTES);
    const why = 'its Pod clean-b is not ready: it is Pending';
    expect(outcome.rollout?.unreached).toEqual([{ node: 'b', why, isNodeDown: false }]);
  });

  test('that come back in time are cleaned up as well', async () => {
    reachA();
    const outcome = start();
    await until(25_000, outcome);
    cluster.nodes.set('b', { isReady: true });
    await until(2 * MINUTES, outcome);
    expect(outcome).toEqual({});
    cluster.count(2, 2);
    await until(3 * MINUTES, outcome);
    expect(outcome.rollout?.unreached).toEqual([]);
  });
});

describe('an API server that', () => {
  test('is away for a while is waited for', async () => {
    cluster.count(1, 0);
    const outcome = start();
    await until(10_000);
    cluster.failure = apiFailure('away');
    await until(100_000, outcome);
    expect(outcome).toEqual({});
    expect(new Set(failures)).toEqual(new Set(['away']));
    cluster.failure = undefined;
    cluster.count(1, 1);
    await until(120_000, outcome);
    expect(outcome.rollout?.ready).toBe(1);
  });

  test.each(['all it is asked', 'lists of nodes', 'the DaemonSet'])(
    'fails for %s at the end: what was found before is told, and that it is',
    async (what) => {
      cluster.nodes.set('a', { isReady: true });
      cluster.count(2, 1);
      const outcome = start(2 * MINUTES);
      await until(100_000, outcome);
      const { json } = cluster;
      cluster.json = async (ask, signal) => {
        const isNodes = ask.path === '/api/v1/nodes';
        const isSet = ask.path.includes('daemonsets');
        if (what === 'lists of nodes' ? isNodes : what === 'the DaemonSet' ? isSet : true) throw apiFailure('away');
        return json.call(cluster, ask, signal);
      };
      await until(10 * MINUTES, outcome);
      expect(clock.now()).toBeLessThanOrEqual(2 * MINUTES);
      expect(outcome).toEqual({
        rollout: {
          desired: 2,
          ready: 1,
          unreached: [{ node: 'a', why: 'it has no Pod', isNodeDown: false }],
          isNoneSelected: false,
          stale: expect.objectContaining({ message: 'away' }),
        },
      });
    },
  );

  test('fails at the end, before anything was found out, is an error', async () => {
    cluster.count(1, 0);
    const { json } = cluster;
    cluster.json = async (ask, signal) => {
      if (ask.path === '/api/v1/nodes') throw apiFailure('away');
      return json.call(cluster, ask, signal);
    };
    const outcome = start(2 * MINUTES);
    await until(10 * MINUTES, outcome);
    expect(outcome.error).toMatchObject({ message: 'away' });
  });

  test('lists so slowly that it comes to no end is not waited for', async () => {
    cluster.nodes.set('a', { isReady: true });
    cluster.count(1, 0);
    const outcome = start(2 * MINUTES);
    await until(100_000, outcome);
    const { json } = cluster;
    // Page after page, each in time.
    cluster.json = async (ask, signal) => {
      if (ask.path !== '/api/v1/nodes') return json.call(cluster, ask, signal);
      await sleep(9_000, signal, clock);
      return { metadata: { continue: 'more' }, items: [] };
    };
    await until(10 * MINUTES, outcome);
    expect(clock.now()).toBe(2 * MINUTES + 20_000);
    const stale = expect.objectContaining({ message: 'the API server answers too slowly' });
    expect(outcome.rollout).toMatchObject({ unreached: [{ node: 'a' }], stale });
    expect(clock.nextInMs).toBeUndefined();
  });

  test('is away until the end is an error', async () => {
    cluster.failure = apiFailure('away');
    const outcome = start(2 * MINUTES);
    await until(10 * MINUTES, outcome);
    expect(outcome.error).toBe(cluster.failure);
    expect(clock.now()).toBeLessThanOrEqual(2 * MINUTES);
  });

  test('has no such DaemonSet is an error at once', async () => {
    cluster.failure = apiFailure('not found', { upstreamStatus: 404 });
    const outcome = start();
    await until(10 * MINUTES, outcome);
    expect(outcome.error).toMatchObject({ code: 'OBJECT_UNUSABLE', message: 'there is no DaemonSet ns/clean' });
    expect(clock.now()).toBe(0);
  });

  test('forgets a list half way is asked for it anew', async () => {
    cluster.count(1, 0);
    cluster.nodes.set('a', { isReady: true });
    const outcome = start(20_000);
    await until(14_000);
    const { json } = cluster;
    let times = 0;
    cluster.json = async (ask, signal) => {
      if (ask.path === '/api/v1/nodes' && times++ === 0) throw apiFailure('expired', { upstreamStatus: 410 });
      return json.call(cluster, ask, signal);
    };
    await until(60_000, outcome);
    expect(outcome.rollout?.unreached).toHaveLength(1);
    expect(failures).toEqual(['expired']);
  });
});

function page(all: readonly object[], { limit, continue: from = '0' }: Readonly<Record<string, string>>) {
  const end = Number(from) + Number(limit);
  const metadata = end < all.length ? { continue: String(end) } : {};
  return { metadata, items: all.slice(Number(from), end) };
}

function nodeOf(name: string, { isReady, labels = { os: 'linux' }, conditions }: FakeNode) {
  const condition = isReady ? { status: 'True', message: 'kubelet is posting' } : { status: 'Unknown', message: DOWN };
  return { metadata: { name, labels }, status: { conditions: conditions ?? [{ type: 'Ready', ...condition }] } };
}

function podOf({ node, status = {}, isScheduled = true, uid = 'ours', isLeaving = false }: FakePod) {
  const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node] }];
  const required = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } };
  return {
    metadata: {
      name: `clean-${node}`,
      ownerReferences: [{ uid }],
      ...(isLeaving ? { deletionTimestamp: '2026-11-26T00:00:00Z' } : {}),
    },
    spec: isScheduled ? { nodeName: node } : { affinity: { nodeAffinity: required } },
    status,
  };
}
