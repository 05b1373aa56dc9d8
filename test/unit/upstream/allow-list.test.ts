import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AllowList } from '../../../src/upstream/allow-list.ts';
import { MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry } from '../../support/fake-registry/fake-registry.ts';
import { failure, fakeLookup, openRegistries, patient } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const entries = (...hosts: string[]) => hosts.map((host) => ({ host }));

describe('which entry a host falls under', () => {
  test.each([
    ['docker.io', 'docker.io', false],
    ['a.example.com', '*.example.com', true],
    ['a.b.example.com', '*.b.example.com', true],
    ['exact.example.com', 'exact.example.com', false],
    ['a.example.com:5000', '*.example.com', true],
    ['a.ports.test:5000', '*.ports.test:5000', true],
  ])('%s: %s', (host, entry, byWildcard) => {
    const list = new AllowList(
      entries('*.example.com', 'docker.io', '*.b.example.com', 'exact.example.com', '*.ports.test:5000'),
    );
    expect(list.match(host)).toMatchObject({ settings: { host: entry }, byWildcard });
  });

  test.each([
    'example.com',
    'evilexample.com',
    'docker.io:444',
    'sub.docker.io',
    'a.ports.test',
    'a.ports.test:5001',
    '',
  ])('%s: none', (host) => {
    const list = new AllowList(entries('*.example.com', 'docker.io', '*.ports.test:5000'));
    expect(list.match(host)).toBeUndefined();
  });

  test('* is the last of all', () => {
    const list = new AllowList(entries('*', '*.example.com', 'docker.io'));
    expect(list.match('docker.io')?.settings.host).toBe('docker.io');
    expect(list.match('a.example.com')?.settings.host).toBe('*.example.com');
    expect(list.match('anything.test:99')).toMatchObject({ settings: { host: '*' }, byWildcard: true });
  });
});

test.each([
  'evil.test/.example.com',
  'evil.test#.example.com',
  'evil.test?.example.com',
  'user@evil.test:80\\.example.com',
  'evil.test\t.example.com',
  'A.example.com',
  '.example.com',
])('%j only ends like what is allowed', (host) => {
  expect(new AllowList(entries('*.example.com', '*')).match(host)).toBeUndefined();
});

describe('registries', () => {
  test('a host that is not listed is denied, and nothing is resolved', () => {
    const asked: string[] = [];
    const { registries } = openRegistries(entries('docker.io', '*.example.com'), { lookup: fakeLookup({}, asked) });
    for (const host of ['evil.test', 'docker.io.evil.test', '169.254.169.254', '127.0.0.1:6379', '']) {
      expect(registries.allows(host)).toBe(false);
      expect(() => registries.get(host)).toThrow(expect.objectContaining({ code: 'REGISTRY_DENIED' }));
    }
    expect(asked).toEqual([]);
    expect(registries.allows('docker.io')).toBe(true);
    expect(registries.get('docker.io')).toBe(registries.get('docker.io'));
  });

  test('a wildcard’s clients are bounded, and one that was put away still works', async () => {
    const registry = await FakeRegistry.start();
    scratch.defer(() => registry.close());
    const { registries } = openRegistries([{ host: '*.example.com', endpoint: registry.server.url }]);
    scratch.defer(() => registries.close());
    const first = registries.get('first.example.com');
    await first.headManifest(REPOSITORY, TAG, patient);
    for (let index = 0; index < 200; index += 1) registries.get(`other${index}.example.com`);
    expect(registries.get('first.example.com')).not.toBe(first);
    expect(await first.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  });

  test('after close everything is refused as STOPPING', async () => {
    const registry = await FakeRegistry.start({ habits: [() => {}] });
    scratch.defer(() => registry.close());
    const { registries } = openRegistries([{ host: 'registry.test', endpoint: registry.server.url }], {
      maxRequests: 1,
    });
    const client = registries.get('registry.test');
    const running = failure(client.headManifest(REPOSITORY, TAG, patient));
    const queued = failure(client.headManifest(REPOSITORY, TAG, patient));
    await expect.poll(() => registry.server.requests.length).toBe(1);
    await registries.close();
    expect((await running).code).toBe('STOPPING');
    expect((await queued).code).toBe('STOPPING');
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('STOPPING');
  });

  test('a password for * is refused at start', () => {
    const credentials = { username: 'u', passwordFile: '/nonexistent' };
    expect(() => openRegistries([{ host: '*', credentials }])).toThrow(
      expect.objectContaining({ code: 'INVALID_SETTINGS' }),
    );
  });

  test('metrics name a wildcard, not what clients made of it', async () => {
    const registry = await FakeRegistry.start();
    scratch.defer(() => registry.close());
    const { registries, metrics } = openRegistries([{ host: '*.example.com', endpoint: registry.server.url }]);
    scratch.defer(() => registries.close());
    for (const name of ['a', 'b']) {
      const client = registries.get(`${name}.example.com`);
      expect(client.label).toBe('*.example.com');
      await client.headManifest(REPOSITORY, TAG, patient);
      await client.getManifest(REPOSITORY, TAG, patient);
    }
    expect((await metrics.upstreamRequests.get()).values).toMatchObject([
      { labels: { registry: '*.example.com', kind: 'manifest', method: 'HEAD', status: '200' }, value: 2 },
      { labels: { registry: '*.example.com', kind: 'manifest', method: 'GET', status: '200' }, value: 2 },
    ]);
    expect((await metrics.upstreamBytes.get()).values).toMatchObject([{ value: 2 * MANIFEST.bytes.byteLength }]);
  });
});
