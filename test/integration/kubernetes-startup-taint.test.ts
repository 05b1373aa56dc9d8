import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiAccess } from '../../src/kubernetes/api-access.ts';
import { KubeApi, type KubeRequest } from '../../src/kubernetes/kube-api.ts';
import { StartupTaint } from '../../src/kubernetes/startup-taint.ts';
import { systemTimers } from '../../src/time/timers.ts';
import { eventually } from '../support/eventually.ts';
import { InProcessAgent } from '../support/in-process-agent.ts';
import { KubeApiserver } from '../support/kube-apiserver.ts';
import { builtKubeApiserver } from '../support/kube-apiserver-binary.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { startupTaintPolicy } from '../support/startup-taint-policy.ts';

const NAMESPACE = 'windlass-test';
const ACCOUNT = 'windlass';
const KEY = 'windlass.dev/agent-not-ready';
const STARTUP = { key: KEY, effect: 'NoSchedule' };
const OTHER = { key: 'example.com/other', value: 'yes', effect: 'NoSchedule' };
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const ADMISSION = '/apis/admissionregistration.k8s.io/v1';
const COLLECTIONS: Readonly<Record<string, string>> = {
  ClusterRole: `${RBAC}/clusterroles`,
  ClusterRoleBinding: `${RBAC}/clusterrolebindings`,
  ValidatingAdmissionPolicy: `${ADMISSION}/validatingadmissionpolicies`,
  ValidatingAdmissionPolicyBinding: `${ADMISSION}/validatingadmissionpolicybindings`,
};

interface Taint {
  readonly key: string;
  readonly effect: string;
}

const binary = builtKubeApiserver();
const missing = [commandsMissing('etcd', 'openssl'), typeof binary === 'string' ? binary : undefined];

describeWith('the startup taint, with a real API server', missing, () => {
  let scratch: Scratch;
  let api: KubeApiserver;

  beforeAll(async () => {
    scratch = await Scratch.create();
    api = await KubeApiserver.start(scratch);
    process.env.KUBERNETES_SERVICE_HOST = '127.0.0.1';
    process.env.KUBERNETES_SERVICE_PORT = String(api.port);
    await api.must('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
    await api.must('POST', `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata: { name: ACCOUNT } });
    for (const node of ['a', 'b']) {
      await api.must('POST', '/api/v1/nodes', { metadata: { name: node }, spec: { taints: [OTHER, STARTUP] } });
      await api.must('POST', `/api/v1/namespaces/${NAMESPACE}/pods`, podOn(node));
    }
  });
  afterAll(async () => {
    delete process.env.KUBERNETES_SERVICE_HOST;
    delete process.env.KUBERNETES_SERVICE_PORT;
    await scratch?.dispose();
  });

  const taintsOf = async (node: string): Promise<readonly Taint[]> =>
    JSON.parse(await api.must('GET', `/api/v1/nodes/${node}`)).spec.taints ?? [];
  const keysOf = async (node: string) => (await taintsOf(node)).map(({ key }) => key);
  const setTaints = (node: string, taints: readonly object[]) =>
    api.must('PATCH', `/api/v1/nodes/${node}`, { spec: { taints } });
  const agentOn = async (name: string, token: string, node = name, more: object = {}) => {
    const podRoot = await api.writeAccount(NAMESPACE, token, `pod-${name}`);
    const settings = { node: { name: node, startupTaint: KEY }, stop: { gracePeriod: '1s' }, ...more };
    const made = await InProcessAgent.create({ folder: scratch.join(`agent-${name}`), settings, podRoot });
    scratch.defer(() => made.agent.stop());
    return made;
  };
  const warnings = (agent: InProcessAgent) =>
    agent.logs.filter(({ msg }) => String(msg).startsWith('the startup taint cannot be removed'));

  test('an agent without the rights serves, and says once what it needs', async () => {
    const agent = await agentOn('poor', await api.tokenOf(NAMESPACE, ACCOUNT, 'agent-a'), 'a');
    await agent.agent.start();
    await eventually(() => warnings(agent).length > 0, { timeoutMs: 60_000, what: 'a warning' });
    expect(warnings(agent)).toEqual([
      expect.objectContaining({
        level: 40,
        hint: expect.stringContaining('needs patch of nodes'),
        err: expect.objectContaining({ message: expect.stringMatching(/answered 403: nodes "a" is forbidden/) }),
      }),
    ]);
    expect((await fetch(`http://${agent.agent.statusAddress}/readyz`)).status).toBe(200);
    expect(await keysOf('a')).toContain(KEY);
    await agent.agent.stop();
  });

  describe('and the policy of the chart', () => {
    let tokenOfA: string;

    beforeAll(async () => {
      const values = {
        clusterName: `${NAMESPACE}.windlass`,
        serviceAccountName: ACCOUNT,
        namespace: NAMESPACE,
        key: KEY,
      };
      for (const object of await startupTaintPolicy(values)) {
        await api.must('POST', COLLECTIONS[object.kind] ?? object.kind, object);
      }
      tokenOfA = await api.tokenOf(NAMESPACE, ACCOUNT, 'agent-a');
      // Policies are in force some seconds after they are made, and what they deny changes nothing.
      await eventually(
        async () => (await denied('b', { metadata: { labels: { x: 'y' } } }))?.includes('own Pod alone'),
        {
          timeoutMs: 120_000,
          everyMs: 250,
          what: 'the policy to be in force',
        },
      );
    });

    /** What the agent on node a is told when it tries; undefined: it may. */
    const denied = async (node: string, patch: object, token = tokenOfA): Promise<string | undefined> => {
      const { status, text } = await api.call('PATCH', `/api/v1/nodes/${node}`, patch, token);
      if (status === 200) return undefined;
      expect(status, text).toBe(403);
      return String(JSON.parse(text).message);
    };
    const without = (taints: readonly Taint[]) => ({ spec: { taints: taints.filter(({ key }) => key !== KEY) } });

    test("another node's is not its to remove", async () => {
      expect(await denied('b', without(await taintsOf('b')))).toContain(
        'an agent may change the Node of its own Pod alone: not b, with a token of a',
      );
      expect(await keysOf('b')).toContain(KEY);
    });

    test("its own Node is its to read, by a patch of nothing, and no other's", async () => {
      const before = await api.must('GET', '/api/v1/nodes/a');
      const { status, text } = await api.call('PATCH', '/api/v1/nodes/a', [], tokenOfA);
      expect([status, JSON.parse(text)]).toEqual([200, JSON.parse(before)]);
      expect(await api.must('GET', '/api/v1/nodes/a')).toBe(before);
      expect(await denied('b', [])).toContain('not b, with a token of a');
      for (const node of ['a', 'b']) {
        expect((await api.call('GET', `/api/v1/nodes/${node}`, undefined, tokenOfA)).status).toBe(403);
      }
    });

    test('a token that is bound to no Pod reads and removes none', async () => {
      const unbound = await api.tokenOf(NAMESPACE, ACCOUNT);
      for (const patch of [[], without(await taintsOf('a'))]) {
        expect(await denied('a', patch, unbound)).toContain('with a token of no node');
      }
    });

    test.each([
      ['a label', { metadata: { labels: { 'node-role.kubernetes.io/control-plane': '' } } }, 'labels'],
      ['an annotation', { metadata: { annotations: { a: 'b' } } }, 'annotations'],
      ['a finalizer', { metadata: { finalizers: ['example.com/stay'] } }, 'finalizers'],
      ['an owner', { metadata: { ownerReferences: [ownerOf('b')] } }, 'owners'],
      ['that it is cordoned', { spec: { unschedulable: true } }, 'spec but a taint'],
      ['its provider', { spec: { providerID: 'aws:///x' } }, 'spec but a taint'],
      ['its Pods addresses', { spec: { podCIDR: '10.0.0.0/24', podCIDRs: ['10.0.0.0/24'] } }, 'spec but a taint'],
    ])('%s of its own Node is not its to change', async (_name, patch, message) => {
      const before = await api.must('GET', '/api/v1/nodes/a');
      expect(await denied('a', patch)).toContain(message);
      expect(await api.must('GET', '/api/v1/nodes/a')).toBe(before);
    });

    test('what the API server itself lets nobody change stays', async () => {
      const before = await api.must('GET', '/api/v1/nodes/a');
      const configSource = { configMap: { name: 'x', namespace: 'y', kubeletConfigKey: 'z' } };
      await api.call('PATCH', '/api/v1/nodes/a', { spec: { configSource, externalID: 'x' } }, tokenOfA);
      await api.call('PATCH', '/api/v1/nodes/a', { status: { capacity: { cpu: '1000' } } }, tokenOfA);
      expect(await api.must('GET', '/api/v1/nodes/a')).toBe(before);
    });

    test('other taints are not its to change, add or remove, alone or together with its own', async () => {
      const taints = await taintsOf('a');
      const rest = taints.filter(({ key }) => key !== KEY);
      const none = 'remove no taint of its Node but windlass.dev/agent-not-ready';
      expect(await denied('a', { spec: { taints: taints.filter(({ key }) => key !== OTHER.key) } })).toContain(none);
      expect(await denied('a', { spec: { taints: [] } })).toContain(none);
      expect(await denied('a', { spec: { taints: [...rest, { key: 'x', effect: 'NoExecute' }] } })).toContain('put no');
      const changed = taints.map((taint) => (taint.key === OTHER.key ? { ...taint, value: 'no' } : taint));
      expect(await denied('a', { spec: { taints: changed } })).toContain('put no taint');
      expect(await denied('a', { spec: { taints: [...rest, { ...STARTUP, effect: 'NoExecute' }] } })).toContain(
        'put no',
      );
      expect(await taintsOf('a')).toEqual(taints);
    });

    test('its status, other nodes and all else are not its to touch', async () => {
      const status = { status: { capacity: { cpu: '1000' } } };
      expect((await api.call('PATCH', '/api/v1/nodes/a/status', status, tokenOfA)).status).toBe(403);
      expect((await api.call('DELETE', '/api/v1/nodes/a', undefined, tokenOfA)).status).toBe(403);
      expect((await api.call('GET', '/api/v1/nodes', undefined, tokenOfA)).status).toBe(403);
      expect((await api.call('POST', '/api/v1/nodes', { metadata: { name: 'c' } }, tokenOfA)).status).toBe(403);
    });

    test('others than agents are not its business', async () => {
      await api.must('PATCH', '/api/v1/nodes/b', { metadata: { labels: { x: 'y' } } });
    });

    test('an agent removes it from its own Node when its mirror serves, and leaves all others', async () => {
      await setTaints('a', [
        STARTUP,
        OTHER,
        { ...STARTUP, effect: 'NoExecute' },
        { key: 'last', effect: 'NoSchedule' },
      ]);
      const agent = await agentOn('a', tokenOfA);
      expect(await keysOf('a')).toContain(KEY);
      await agent.agent.start();
      await eventually(async () => !(await keysOf('a')).includes(KEY), { timeoutMs: 60_000, what: 'the taint to go' });
      expect(await keysOf('a')).toEqual([OTHER.key, 'last']);
      expect(warnings(agent)).toEqual([]);
      // Whoever makes nodes may be a moment late.
      await setTaints('a', [STARTUP, OTHER]);
      await eventually(async () => !(await keysOf('a')).includes(KEY), { timeoutMs: 60_000, what: 'it to go again' });
      expect(await keysOf('a')).toEqual([OTHER.key]);
      await agent.agent.stop();
      expect(await keysOf('a')).toEqual([OTHER.key]);
      // The last one of all.
      await setTaints('a', [STARTUP]);
      const next = await agentOn('a-again', tokenOfA, 'a');
      await next.agent.start();
      await eventually(async () => (await keysOf('a')).length === 0, { timeoutMs: 60_000, what: 'no taint' });
    });

    test('an agent whose mirror cannot serve leaves it', async () => {
      await setTaints('a', [STARTUP]);
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      scratch.defer(() => taken.close());
      const { port } = taken.address() as AddressInfo;
      const agent = await agentOn('stuck', tokenOfA, 'a', { mirror: { listen: [`127.0.0.1:${port}`] } });
      await expect(agent.agent.start()).rejects.toMatchObject({ code: 'EADDRINUSE' });
      // As long as it would take, had it begun: another one does it meanwhile, from the start on.
      await setTaints('b', [STARTUP]);
      const other = await agentOn('beside', await api.tokenOf(NAMESPACE, ACCOUNT, 'agent-b'), 'b');
      await other.agent.start();
      await eventually(async () => (await keysOf('b')).length === 0, {
        timeoutMs: 60_000,
        what: 'the taint of b to go',
      });
      await other.agent.stop();
      expect([await keysOf('a'), warnings(agent)]).toEqual([[KEY], []]);
      await agent.agent.stop();
    });

    test("an agent with another Pod's token removes none, and says why", async () => {
      await setTaints('b', [OTHER, STARTUP]);
      const agent = await agentOn('b', tokenOfA);
      await agent.agent.start();
      await eventually(() => warnings(agent).length > 0, { timeoutMs: 60_000, what: 'a warning' });
      expect(warnings(agent)[0]).toMatchObject({
        hint: expect.stringContaining("the admission policy must know this Pod's node"),
        err: { message: expect.stringContaining('not b, with a token of a') },
      });
      expect(await keysOf('b')).toContain(KEY);
    });

    test('taints that others change between its look and its patch are never lost', async () => {
      const podRoot = await api.writeAccount(NAMESPACE, await api.tokenOf(NAMESPACE, ACCOUNT, 'agent-b'), 'pod-busy');
      const real = new KubeApi({ loadAccess: async () => new ApiAccess(podRoot), timers: systemTimers });
      const others = ['example.com/n1', 'example.com/n2', 'example.com/n3'];
      const failures: unknown[] = [];
      const json: KubeApi['json'] = async (ask, signal) => {
        const node = await real.json(ask, signal).catch((error) => {
          // The last patch may have been done, and its answer be under way, when it is stopped.
          if (!signal.aborted) failures.push(error.upstreamStatus);
          throw error;
        });
        const key = isLook(ask) ? others.shift() : undefined;
        // One more in front of all others.
        const add = { op: 'add', path: '/spec/taints/0', value: { key, effect: 'NoSchedule' } };
        if (key !== undefined) await api.must('PATCH', '/api/v1/nodes/b', [add]);
        return node;
      };
      await setTaints('b', [OTHER, STARTUP]);
      const logger = pino({ level: 'silent' });
      const taint = new StartupTaint({ api: { json }, nodeName: 'b', key: KEY, timers: systemTimers, logger });
      scratch.defer(() => taint.stop());
      taint.start();
      await eventually(async () => !(await keysOf('b')).includes(KEY), { timeoutMs: 120_000, what: 'the taint to go' });
      await taint.stop();
      expect(await keysOf('b')).toEqual(['example.com/n3', 'example.com/n2', 'example.com/n1', OTHER.key]);
      expect(failures).toEqual([422, 422, 422]);
    });
  });
});

function isLook({ body }: KubeRequest): boolean {
  return Array.isArray(body?.value) && body.value.length === 0;
}

function podOn(node: string) {
  const containers = [{ name: 'windlass', image: 'windlass' }];
  const spec = { serviceAccountName: ACCOUNT, nodeName: node, automountServiceAccountToken: false, containers };
  return { metadata: { name: `agent-${node}` }, spec };
}

function ownerOf(name: string) {
  return { apiVersion: 'v1', kind: 'Node', name, uid: '00000000-0000-0000-0000-000000000000' };
}
