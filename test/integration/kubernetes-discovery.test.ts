import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Candidate } from '../../src/discovery/discovery.ts';
import { KubernetesDiscovery } from '../../src/discovery/kubernetes-discovery.ts';
import { ApiAccess } from '../../src/kubernetes/api-access.ts';
import { systemTimers } from '../../src/time/timers.ts';
import { eventually } from '../support/eventually.ts';
import { KubeApiserver } from '../support/kube-apiserver.ts';
import { builtKubeApiserver } from '../support/kube-apiserver-binary.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const NAMESPACE = 'windlass-test';
const SERVICE = 'windlass-peers';
const SLICES = `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`;
const ACCOUNTS = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`;
const RBAC = `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}`;

const binary = builtKubeApiserver();
const missing = [commandsMissing('etcd', 'openssl'), typeof binary === 'string' ? binary : undefined];

describeWith('EndpointSlices of a real API server', missing, () => {
  let scratch: Scratch;
  let api: KubeApiserver;
  let discovery: KubernetesDiscovery;
  let root: string;
  const told: (readonly Candidate[])[] = [];
  const lines: { msg: string; err?: { message: string } }[] = [];

  beforeAll(async () => {
    scratch = await Scratch.create();
    api = await KubeApiserver.start(scratch);
    await api.must('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
    await api.must('POST', ACCOUNTS, { metadata: { name: 'windlass' } });
    await api.must('POST', `${RBAC}/roles`, {
      metadata: { name: 'windlass' },
      rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }],
    });
    await api.must('POST', `${RBAC}/rolebindings`, {
      metadata: { name: 'windlass' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'windlass' },
      subjects: [{ kind: 'ServiceAccount', name: 'windlass', namespace: NAMESPACE }],
    });
    root = await api.writeAccount(NAMESPACE, await api.tokenOf(NAMESPACE, 'windlass'));
    process.env.KUBERNETES_SERVICE_HOST = '127.0.0.1';
    process.env.KUBERNETES_SERVICE_PORT = String(api.port);
    discovery = new KubernetesDiscovery({
      namespace: NAMESPACE,
      service: SERVICE,
      port: 'p2p',
      nodeName: 'n1',
      ownAddresses: () => new Set(),
      timers: systemTimers,
      logger: pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) }),
      loadAccess: async () => new ApiAccess(root),
    });
    await discovery.start((candidates) => told.push(candidates));
  });
  afterAll(async () => {
    await discovery?.stop();
    delete process.env.KUBERNETES_SERVICE_HOST;
    delete process.env.KUBERNETES_SERVICE_PORT;
    await scratch?.dispose();
  });

  const toldOf = (...addresses: string[]) =>
    eventually(
      () =>
        told
          .at(-1)
          ?.map(({ address }) => address)
          .join() === addresses.join(),
      {
        what: () => `${addresses}; told ${JSON.stringify(told)}, said ${JSON.stringify(lines)}`,
      },
    );
  const create = (name: string, hosts: readonly string[]) => api.must('POST', SLICES, sliceOf(name, hosts));
  const replace = (name: string, hosts: readonly string[], conditions?: object) =>
    api.must('PUT', `${SLICES}/${name}`, sliceOf(name, hosts, conditions));

  test('the right to get, list and watch them in one namespace is all that there is', async () => {
    const token = await api.tokenOf(NAMESPACE, 'windlass');
    expect((await api.call('GET', SLICES, undefined, token)).status).toBe(200);
    for (const path of [
      '/apis/discovery.k8s.io/v1/endpointslices',
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
      `/api/v1/namespaces/${NAMESPACE}/services/${SERVICE}`,
      `/api/v1/namespaces/${NAMESPACE}/pods`,
      '/api/v1/nodes',
    ]) {
      expect((await api.call('GET', path, undefined, token)).status, path).toBe(403);
    }
  });

  test('slices made, changed and deleted reach the agent in order', async () => {
    await create('v4', ['10.0.0.1', '10.0.0.2']);
    await toldOf('10.0.0.1:5052', '10.0.0.2:5052');
    expect(told.at(-1)).toEqual([
      { address: '10.0.0.1:5052', nodeName: 'n1', zone: 'a', self: true },
      { address: '10.0.0.2:5052', nodeName: 'n2', zone: 'b' },
    ]);
    await create('v6', ['fd00::2']);
    await toldOf('10.0.0.1:5052', '10.0.0.2:5052', '[fd00::2]:5052');
    await replace('v4', ['10.0.0.1', '10.0.0.3']);
    await toldOf('10.0.0.1:5052', '10.0.0.3:5052', '[fd00::2]:5052');
    await api.must('DELETE', `${SLICES}/v6`);
    await toldOf('10.0.0.1:5052', '10.0.0.3:5052');
    // Of another Service: not ours.
    const other = sliceOf('other', ['10.0.0.9']);
    await api.must('POST', SLICES, { ...other, metadata: { name: 'other', labels: serviceLabel('other') } });
    // As of a node that died, with publishNotReadyAddresses.
    await replace('v4', ['10.0.0.1', '10.0.0.3'], { ready: true, serving: false, terminating: false });
    await toldOf('10.0.0.1:5052');
    await replace('v4', ['10.0.0.1', '10.0.0.3']);
    await toldOf('10.0.0.1:5052', '10.0.0.3:5052');
    expect(told).toHaveLength(6);
    expect(lines).toEqual([]);
  });

  test('an API server that is killed takes nobody along, and is followed when it is back', async () => {
    const before = told.length;
    await api.kill();
    await eventually(() => lines.length > 0, { what: 'a warning' });
    expect(told).toHaveLength(before);
    await api.start();
    await replace('v4', ['10.0.0.1', '10.0.0.4']);
    await toldOf('10.0.0.1:5052', '10.0.0.4:5052');
    expect(lines.at(-1)?.msg).toBe('discovery: the EndpointSlices can be read again');
    await replace('v4', ['10.0.0.1', '10.0.0.5']);
    await toldOf('10.0.0.1:5052', '10.0.0.5:5052');
  });

  test('a token that is refused is tried with what its file has by then', async () => {
    // With its account the token is void, and a server that was started anew knows nothing of it from before.
    await api.must('DELETE', `${ACCOUNTS}/windlass`);
    await api.kill();
    await api.start();
    await eventually(() => lines.some(({ err }) => err?.message.includes('answered 401')), {
      timeoutMs: 60_000,
      what: () => `a refusal; said ${JSON.stringify(lines)}`,
    });
    await api.must('POST', ACCOUNTS, { metadata: { name: 'windlass' } });
    await replace('v4', ['10.0.0.1', '10.0.0.6']);
    await api.writeAccount(NAMESPACE, await api.tokenOf(NAMESPACE, 'windlass'));
    await eventually(() => told.at(-1)?.at(-1)?.address === '10.0.0.6:5052', {
      timeoutMs: 60_000,
      what: () => `10.0.0.6; told ${JSON.stringify(told.at(-1))}, said ${JSON.stringify(lines)}`,
    });
  });
});

function serviceLabel(service: string) {
  return { 'kubernetes.io/service-name': service };
}

function sliceOf(name: string, hosts: readonly string[], conditions: object = { ready: true, serving: true }) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: serviceLabel(SERVICE) },
    addressType: hosts.some((host) => host.includes(':')) ? 'IPv6' : 'IPv4',
    ports: [
      { name: 'peer', port: 5051, protocol: 'TCP' },
      { name: 'p2p', port: 5052, protocol: 'TCP' },
    ],
    endpoints: hosts.map((host) => {
      const number = Number(host.slice(-1));
      const zone = String.fromCharCode(96 + number);
      return { addresses: [host], conditions, nodeName: `n${number}`, zone };
    }),
  };
}
