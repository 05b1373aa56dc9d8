import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import type { NetworkInterfaceInfo } from 'node:os';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDiscovery } from '../../../src/discovery/create-discovery.ts';
import { ownAddresses } from '../../../src/discovery/own-addresses.ts';
import { ApiAccess } from '../../../src/kubernetes/api-access.ts';
import { systemTimers } from '../../../src/time/timers.ts';
import { Scratch } from '../../support/scratch.ts';

const ACCOUNT = 'var/run/secrets/kubernetes.io/serviceaccount';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
  process.env.KUBERNETES_SERVICE_HOST = '10.96.0.1';
  process.env.KUBERNETES_SERVICE_PORT = '443';
});
afterEach(async () => {
  delete process.env.KUBERNETES_SERVICE_HOST;
  delete process.env.KUBERNETES_SERVICE_PORT;
  await scratch.dispose();
});

const create = (service: string) =>
  createDiscovery(
    { kind: 'kubernetes', peers: [], dns: { name: '', port: 5052 }, kubernetes: { service, port: 'p2p' } },
    { nodeName: 'n1', timers: systemTimers, logger: pino({ level: 'silent' }), podRoot: scratch.path },
  );

test.each(['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'])('outside of a Pod (no %s) it is refused', (name) => {
  delete process.env[name];
  expect(() => create('kube-system/windlass-peers')).toThrow(
    expect.objectContaining({
      code: 'INVALID_SETTINGS',
      message: `discovery.kind = "kubernetes": there is no variable ${name}, which every Pod has; outside of one use static or dns`,
    }),
  );
});

test('a Service without a namespace needs that of the Pod', async () => {
  expect(() => create('windlass-peers')).toThrow(
    `discovery.kubernetes.service = "windlass-peers": the Pod's namespace is not known (${scratch.join(ACCOUNT, 'namespace')}: ENOENT); write namespace/name`,
  );
  expect(create('kube-system/windlass-peers')).toBeDefined();
  await mkdir(scratch.join(ACCOUNT), { recursive: true });
  await writeFile(scratch.join(ACCOUNT, 'namespace'), 'kube-system\n');
  expect(create('windlass-peers')).toBeDefined();
});

test('the API server is asked at its address, of either family: nothing is looked up', async () => {
  await mkdir(scratch.join(ACCOUNT), { recursive: true });
  await writeFile(scratch.join(ACCOUNT, 'ca.crt'), '');
  await writeFile(scratch.join(ACCOUNT, 'token'), 'token-1');
  const url = async () => (await new ApiAccess(scratch.path).request('/x', { limit: '1' })).url.href;
  expect(await url()).toBe('https://10.96.0.1/x?limit=1');
  process.env.KUBERNETES_SERVICE_HOST = 'fd00::1';
  expect(await url()).toBe('https://[fd00::1]/x?limit=1');
});

test('without its files a request fails, with their name, until they are there', async () => {
  const access = new ApiAccess(scratch.path);
  await expect(access.request('/x', {})).rejects.toMatchObject({
    code: 'KUBERNETES_UNAVAILABLE',
    message: expect.stringMatching(/^the Pod's service account cannot be used: ENOENT.*ca\.crt/),
  });
  await mkdir(scratch.join(ACCOUNT), { recursive: true });
  await writeFile(scratch.join(ACCOUNT, 'ca.crt'), '');
  await writeFile(scratch.join(ACCOUNT, 'token'), 'token-1');
  expect((await access.request('/x', {})).headers).toMatchObject({ Authorization: 'Bearer token-1' });
});

test('after a load that failed half way a request loads anew, and does not go on with that half', async () => {
  const namespace = scratch.join(ACCOUNT, 'namespace');
  // There, and not to be read.
  await mkdir(namespace, { recursive: true });
  await writeFile(scratch.join(ACCOUNT, 'ca.crt'), '');
  await writeFile(scratch.join(ACCOUNT, 'token'), 'token-1');
  const access = new ApiAccess(scratch.path);
  for (let time = 0; time < 2; time++) {
    await expect(access.request('/x', {})).rejects.toMatchObject({
      code: 'KUBERNETES_UNAVAILABLE',
      message: expect.stringMatching(/^the Pod's service account cannot be used: EISDIR/),
    });
  }
  await rm(namespace, { recursive: true });
  const { url, headers } = await access.request('/x', {});
  expect([url.href, headers]).toEqual([
    'https://10.96.0.1/x',
    expect.objectContaining({ Authorization: 'Bearer token-1' }),
  ]);
});

test('own addresses are those known last while the system does not tell them', () => {
  const interfaceOf = (address: string, internal: boolean) =>
    ({ address, internal, netmask: '', family: 'IPv4', mac: '', cidr: null }) as const;
  let answer: NodeJS.Dict<NetworkInterfaceInfo[]> | undefined;
  const addresses = ownAddresses(() => {
    if (answer === undefined) throw new Error('A system error occurred: uv_interface_addresses returned EMFILE');
    return answer;
  });
  expect([...addresses()]).toEqual([]);
  answer = { lo: [interfaceOf('127.0.0.1', true)], eth0: [interfaceOf('10.0.0.1', false)] };
  expect([...addresses()]).toEqual(['10.0.0.1']);
  answer = undefined;
  expect([...addresses()]).toEqual(['10.0.0.1']);
});

test('the client of Kubernetes is loaded by agents that need it alone', async () => {
  const module = new URL('../../../src/cluster/cluster.ts', import.meta.url).href;
  // In a process of its own, which says what was loaded.
  const program = `
    import { registerHooks } from 'node:module';
    const seen = [];
    registerHooks({ load: (url, context, next) => { seen.push(url); return next(url, context); } });
    await import(${JSON.stringify(module)});
    console.log(seen.filter((url) => url.includes('/discovery/') || url.includes('@kubernetes')).join('\\n'));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  expect(stdout).toContain('/src/discovery/kubernetes-discovery.ts');
  expect(stdout).not.toContain('@kubernetes');
});
