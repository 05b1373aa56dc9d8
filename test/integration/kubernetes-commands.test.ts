import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { awaitCleanupCommand } from '../../src/cli/await-cleanup.ts';
import { makeSecretCommand } from '../../src/cli/make-secret.ts';
import { removeSecretCommand } from '../../src/cli/remove-secret.ts';
import type { CommandResult } from '../support/commands.ts';
import { eventually } from '../support/eventually.ts';
import { windlassInPod } from '../support/in-pod.ts';
import { KubeApiserver } from '../support/kube-apiserver.ts';
import { builtKubeApiserver } from '../support/kube-apiserver-binary.ts';
import { commandsMissing, describeWith, rootMissing } from '../support/requires.ts';
import { runCommand } from '../support/run-command.ts';
import { Scratch } from '../support/scratch.ts';

const NAMESPACE = 'windlass-test';
const CORE = `/api/v1/namespaces/${NAMESPACE}`;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const DAEMONSETS = `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets`;

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const binary = builtKubeApiserver();
const missing = [
  commandsMissing('etcd', 'openssl', 'unshare'),
  rootMissing(),
  typeof binary === 'string' ? binary : undefined,
];

describeWith("the chart's commands, with a real API server", missing, () => {
  let scratch: Scratch;
  let api: KubeApiserver;

  beforeAll(async () => {
    scratch = await Scratch.create();
    api = await KubeApiserver.start(scratch);
    process.env.KUBERNETES_SERVICE_HOST = '127.0.0.1';
    process.env.KUBERNETES_SERVICE_PORT = String(api.port);
    await api.must('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
  });
  afterAll(async () => {
    delete process.env.KUBERNETES_SERVICE_HOST;
    delete process.env.KUBERNETES_SERVICE_PORT;
    await scratch?.dispose();
  });

  /** A service account of that name, with a Role of these rules and a ClusterRole of those. @returns its Pod's `/` */
  const account = async (name: string, rules: readonly Rule[], clusterRules: readonly Rule[] = []): Promise<string> => {
    const subjects = [{ kind: 'ServiceAccount', name, namespace: NAMESPACE }];
    const roleRef = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name });
    const inNamespace = `${RBAC}/namespaces/${NAMESPACE}`;
    await api.must('POST', `${CORE}/serviceaccounts`, { metadata: { name } });
    await api.must('POST', `${inNamespace}/roles`, { metadata: { name }, rules });
    await api.must('POST', `${inNamespace}/rolebindings`, { metadata: { name }, subjects, roleRef: roleRef('Role') });
    await api.must('POST', `${RBAC}/clusterroles`, { metadata: { name }, rules: clusterRules });
    await api.must('POST', `${RBAC}/clusterrolebindings`, {
      metadata: { name },
      subjects,
      roleRef: roleRef('ClusterRole'),
    });
    return api.writeAccount(NAMESPACE, await api.tokenOf(NAMESPACE, name), name);
  };
  /** As the Job does it: a process, with everything where a Pod has it. */
  const windlass = (podRoot: string, ...args: string[]): Promise<CommandResult> => windlassInPod(podRoot, args);

  describe('make-secret', () => {
    const rule = (...verbs: string[]): Rule => ({
      apiGroups: [''],
      resources: ['secrets'],
      resourceNames: ['windlass-cluster'],
      verbs,
    });
    const secretOf = async (name: string) => JSON.parse(await api.must('GET', `${CORE}/secrets/${name}`));
    const makeSecret = (podRoot: string, ...args: string[]) =>
      runCommand(makeSecretCommand({ podRoot }), ['--name', 'windlass-cluster', ...args]);
    let podRoot: string;
    beforeAll(async () => {
      podRoot = await account('make-secret', [rule('get', 'create', 'patch')]);
    });

    test('makes one, of 32 random bytes, and then leaves it alone', async () => {
      expect(await windlass(podRoot, 'make-secret', '--name', 'windlass-cluster')).toEqual({
        code: 0,
        stdout: `the Secret ${NAMESPACE}/windlass-cluster (key secret) is made\n`,
        stderr: '',
      });
      const made = await secretOf('windlass-cluster');
      expect(made).toMatchObject({
        type: 'Opaque',
        metadata: { labels: { 'app.kubernetes.io/managed-by': 'windlass' } },
      });
      expect(Object.keys(made.data)).toEqual(['secret']);
      const text = Buffer.from(made.data.secret, 'base64').toString();
      expect(text).toMatch(/^[A-Za-z0-9+/]{43}=$/);
      expect(Buffer.from(text, 'base64')).toHaveLength(32);

      expect(await windlass(podRoot, 'make-secret', '--name', 'windlass-cluster')).toEqual({
        code: 0,
        stdout: `the Secret ${NAMESPACE}/windlass-cluster (key secret) is there, and stays as it is\n`,
        stderr: '',
      });
      expect(await secretOf('windlass-cluster')).toEqual(made);
    });

    test('of several at once one makes it, and all are content', async () => {
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      const all = await Promise.all(
        [1, 2, 3].map(() => windlass(podRoot, 'make-secret', '--name', 'windlass-cluster', '--namespace', NAMESPACE)),
      );
      expect(all.map(({ code }) => code)).toEqual([0, 0, 0]);
      expect(all.filter(({ stdout }) => stdout.endsWith('is made\n'))).toHaveLength(1);
    });

    test('remove-secret removes it, and none that somebody else made', async () => {
      const root = await account('remove-secret', [rule('get', 'delete')]);
      const removeSecret = () => runCommand(removeSecretCommand({ podRoot: root }), ['--name', 'windlass-cluster']);
      expect(await removeSecret()).toMatchObject({ code: 0, stdout: expect.stringMatching(/ is removed\n$/) });
      expect((await api.call('GET', `${CORE}/secrets/windlass-cluster`)).status).toBe(404);
      await api.must('POST', `${CORE}/secrets`, { metadata: { name: 'windlass-cluster' } });
      expect(await removeSecret()).toMatchObject({ code: 0, stdout: expect.stringMatching(/ and stays\n$/) });
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      expect(await removeSecret()).toMatchObject({ code: 0, stdout: expect.stringMatching(/ is not there\n$/) });
      await makeSecret(podRoot);
    });

    test('that Role opens no other Secret: not to read, make, change or list', async () => {
      const token = await api.tokenOf(NAMESPACE, 'make-secret');
      const other = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'other' } };
      await api.must('POST', `${CORE}/secrets`, other);
      const refused = [
        api.call('GET', `${CORE}/secrets/other`, undefined, token),
        api.call('GET', `${CORE}/secrets`, undefined, token),
        api.call('PATCH', `${CORE}/secrets/other`, { data: {} }, token),
        api.call('POST', `${CORE}/secrets`, { metadata: { name: 'third' } }, token),
        // Nor by the way that it takes itself, nor in the place of the one that it may make.
        api.call('POST', `${CORE}/secrets`, { metadata: { name: 'windlass-cluster' } }, token),
        api.call('DELETE', `${CORE}/secrets/windlass-cluster`, undefined, token),
      ];
      expect((await Promise.all(refused)).map(({ status }) => status)).toEqual([403, 403, 403, 403, 403, 403]);
    });

    test.each([
      ['has no such key', { other: btoa('x'.repeat(44)) }, 'has no key secret'],
      ['is empty there', { secret: '' }, 'its value has 0 bytes, at least 16 are needed'],
      ['is too short', { secret: btoa('short\n') }, 'its value has 5 bytes, at least 16 are needed'],
    ])('one that is there and %s is an error, and stays', async (_name, data, message) => {
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`);
      await api.must('POST', `${CORE}/secrets`, { metadata: { name: 'windlass-cluster' }, data });
      const before = await secretOf('windlass-cluster');
      const { code, stdout, stderr } = await makeSecret(podRoot);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/^windlass: the Secret windlass-test\/windlass-cluster \(key secret\) is there and /);
      expect(stderr).toContain(message);
      expect(await secretOf('windlass-cluster')).toEqual(before);
      expect((await makeSecret(podRoot, '--key', 'other')).code).toBe('other' in data ? 0 : 1);
    });

    test.each([
      ['none', []],
      ['no right to make', ['get']],
      ['no right to make a new one', ['get', 'patch']],
      ['no right to apply', ['get', 'create']],
      ['no right to read', ['create', 'patch']],
    ])('%s: it says which rights are needed', async (name, verbs) => {
      await api.must('DELETE', `${CORE}/secrets/windlass-cluster`).catch(() => undefined);
      const poor = await account(`poor-${name.replaceAll(' ', '-')}`, verbs.length === 0 ? [] : [rule(...verbs)]);
      const { code, stdout, stderr } = await makeSecret(poor, '--timeout', '1s');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(
        /^windlass: the API server answered 403: secrets "windlass-cluster" is forbidden: .*\. The service account needs get, create and patch of secrets with resourceNames \[windlass-cluster\], by a Role in the namespace windlass-test$/m,
      );
    });
  });

  describe('await-cleanup', () => {
    const set: Rule = { apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: ['clean'], verbs: ['get'] };
    const pods: Rule = { apiGroups: [''], resources: ['pods'], verbs: ['list'] };
    const nodes: Rule = { apiGroups: [''], resources: ['nodes'], verbs: ['list'] };
    let podRoot: string;
    let uid: string;

    beforeAll(async () => {
      podRoot = await account('await-cleanup', [set, pods], [nodes]);
      await api.must('POST', `${CORE}/serviceaccounts`, { metadata: { name: 'default' } });
      for (const name of ['a', 'b', 'c', 'd']) {
        const labels = { 'kubernetes.io/os': name === 'd' ? 'windows' : 'linux' };
        await api.must('POST', '/api/v1/nodes', { metadata: { name, labels } });
        await setNode(name, true);
      }
      uid = JSON.parse(await api.must('POST', DAEMONSETS, daemonSet())).metadata.uid;
      // Somebody else's, with the same labels.
      await api.must('POST', `${CORE}/pods`, podOf('stranger', 'a', undefined));
    });

    // There is no controller and no kubelet here: what they would write is written by hand.
    const setNode = (name: string, isReady: boolean) =>
      api.must('PATCH', `/api/v1/nodes/${name}/status`, {
        status: {
          conditions: [
            isReady
              ? { type: 'Ready', status: 'True', reason: 'KubeletReady' }
              : { type: 'Ready', status: 'Unknown', message: 'Kubelet stopped posting node status.' },
          ],
        },
      });
    const setNumbers = (desired: number, ready: number, observedGeneration = 1) =>
      api.must('PATCH', `${DAEMONSETS}/clean/status`, {
        status: {
          observedGeneration,
          desiredNumberScheduled: desired,
          currentNumberScheduled: desired,
          updatedNumberScheduled: desired,
          numberReady: ready,
          numberMisscheduled: 0,
        },
      });
    const setPod = async (node: string, status: object) => {
      const path = `${CORE}/pods/clean-${node}`;
      if ((await api.call('GET', path)).status === 404) {
        await api.must('POST', `${CORE}/pods`, podOf(`clean-${node}`, node, uid));
      }
      await api.must('PATCH', `${path}/status`, { status });
    };
    const ready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    const awaitCleanup = (timeout: string, from = podRoot) =>
      runCommand(awaitCleanupCommand({ podRoot: from }), ['--daemonset', 'clean', '--timeout', timeout]);

    test('ends with 0 as soon as every node that should have a Pod has one that is ready', async () => {
      await setNumbers(3, 0, 0);
      const running = windlass(podRoot, 'await-cleanup', '--daemonset', 'clean', '--timeout', '2m');
      await setPod('a', ready);
      await setNumbers(3, 1);
      await setPod('b', ready);
      await setPod('c', ready);
      await setNumbers(3, 3);
      const { code, stdout, stderr } = await running;
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/3 of 3 nodes are cleaned up\n$/);
    });

    test('names nodes that are down, that have no Pod, and those whose Pod failed, with what it said: 3', async () => {
      await setNode('a', false);
      await setPod('a', { phase: 'Pending', conditions: [{ type: 'Ready', status: 'False' }] });
      const message = 'windlass: /etc/containerd/certs.d cannot be read: EIO\n';
      await setPod('b', {
        phase: 'Pending',
        conditions: [{ type: 'Ready', status: 'False' }],
        initContainerStatuses: [
          {
            name: 'cleanup',
            ready: false,
            restartCount: 3,
            image: 'windlass',
            imageID: '',
            state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s' } },
            lastState: { terminated: { exitCode: 1, reason: 'Error', message } },
          },
        ],
      });
      await api.must('DELETE', `${CORE}/pods/clean-c?gracePeriodSeconds=0`);
      await setNumbers(3, 0);
      expect(await awaitCleanup('1s')).toEqual({
        code: 3,
        stderr: '',
        stdout: [
          '0 of 3 nodes are cleaned up',
          'not cleaned up: a: the node is down: Kubelet stopped posting node status.',
          'not cleaned up: b: its Pod clean-b is not ready: cleanup ended with 1: windlass: /etc/containerd/certs.d cannot be read: EIO',
          'not cleaned up: c: it has no Pod',
          'Pulls go on there without the mirror. Once such a node is back, windlass cleanup, as root, makes it as it was.',
          '',
        ].join('\n'),
      });
    });

    test('a DaemonSet that selects none of the nodes cleans none up: 3', async () => {
      await setNumbers(0, 0);
      expect(await awaitCleanup('1m')).toEqual({
        code: 3,
        stderr: '',
        stdout:
          '0 of 0 nodes are cleaned up\nno node is cleaned up: there are nodes, and the DaemonSet selects none of them\n',
      });
    });

    test('a DaemonSet that is not there, and one that nobody looks after, are errors: 1', async () => {
      await setNumbers(0, 0, 0);
      expect(await awaitCleanup('1s')).toEqual({
        code: 1,
        stdout: '',
        stderr: `windlass: the DaemonSet ${NAMESPACE}/clean has no Pods and no numbers: does kube-controller-manager run?\n`,
      });
      await api.must('DELETE', `${DAEMONSETS}/clean`);
      expect(await awaitCleanup('2m')).toEqual({
        code: 1,
        stdout: '',
        stderr: `windlass: there is no DaemonSet ${NAMESPACE}/clean\n`,
      });
      uid = JSON.parse(await api.must('POST', DAEMONSETS, daemonSet())).metadata.uid;
    });

    test.each([
      ['the DaemonSet', [pods], [nodes], 'daemonsets.apps "clean" is forbidden'],
      ['pods', [set], [nodes], 'pods is forbidden'],
      ['nodes', [set, pods], [], 'nodes is forbidden'],
    ])('without the right to read %s it says which rights are needed', async (what, rules, clusterRules, message) => {
      await setNumbers(3, 0);
      const name = `no-${what.toLowerCase().replaceAll(' ', '-')}`;
      const poor = await account(name, rules, clusterRules);
      // What it lacks is all that it is refused.
      const token = await api.tokenOf(NAMESPACE, name);
      const granted = [
        ...(rules.includes(set) ? [`${DAEMONSETS}/clean`] : []),
        ...(rules.includes(pods) ? [`${CORE}/pods`] : []),
        ...(clusterRules.includes(nodes) ? ['/api/v1/nodes'] : []),
      ];
      for (const path of granted) {
        await eventually(async () => (await api.call('GET', path, undefined, token)).status === 200, {
          timeoutMs: 60_000,
          what: `the right to read ${path}`,
        });
      }
      const { code, stderr } = await awaitCleanup('1s', poor);
      expect(code).toBe(1);
      expect(stderr).toContain(message);
      expect(stderr).toMatch(
        /The service account needs get of the DaemonSet clean and list of pods, by a Role in the namespace windlass-test, and list of nodes, by a ClusterRole\n$/,
      );
    });
  });
});

function template() {
  return {
    metadata: { labels: { app: 'clean' } },
    spec: { nodeSelector: { 'kubernetes.io/os': 'linux' }, containers: [{ name: 'wait', image: 'windlass' }] },
  };
}

function daemonSet() {
  return { metadata: { name: 'clean' }, spec: { selector: { matchLabels: { app: 'clean' } }, template: template() } };
}

function podOf(name: string, nodeName: string, uid: string | undefined) {
  const { metadata, spec } = template();
  const owner = { apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'clean', uid, controller: true };
  const ownerReferences = uid === undefined ? [] : [owner];
  return {
    metadata: { ...metadata, name, ownerReferences },
    spec: { ...spec, nodeName, automountServiceAccountToken: false },
  };
}
