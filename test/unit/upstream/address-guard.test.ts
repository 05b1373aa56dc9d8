import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { specialAddress } from '../../../src/upstream/address-guard.ts';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, fakeLookup, openRegistries, patient } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

describe('addresses', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.0.9', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['0:0:0:0:0:ffff:127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['2002:7f00:1::', 'loopback'],
    ['::127.0.0.1', 'loopback'],
    ['169.254.169.254', 'metadata'],
    ['::ffff:169.254.169.254', 'metadata'],
    ['64:ff9b::169.254.169.254', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['febf::1', 'link-local'],
    ['0.0.0.0', 'unspecified'],
    ['::', 'unspecified'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'reserved'],
    ['10.0.0.1', undefined],
    ['192.168.1.1', undefined],
    ['172.16.0.1', undefined],
    ['8.8.8.8', undefined],
    ['fd00::1', undefined],
    ['2606:4700::1111', undefined],
    ['::ffff:10.0.0.1', undefined],
    ['2002:808:808::', undefined],
  ])('%s: %s', (address, kind) => {
    expect(specialAddress(address)).toBe(kind);
  });
});

/** A registry on loopback that must not be reached, and what was resolved. */
async function stage(host: (port: number) => string, addresses: readonly string[], allowed = '*') {
  const victim = await FakeRegistry.start();
  scratch.defer(() => victim.close());
  const asked: string[] = [];
  const name = host(victim.server.port);
  const open = openRegistries([{ host: allowed === 'listed' ? name : allowed }], {
    lookup: fakeLookup({ [name.replace(/:\d+$/, '')]: addresses }, asked),
    connectTimeoutMs: 200,
  });
  scratch.defer(() => open.registries.close());
  return { ...open, victim: victim.server, asked, name };
}

describe('a name that clients may choose', () => {
  test.each([
    [['127.0.0.1']],
    [['::1']],
    [['::ffff:127.0.0.1']],
    [['127.0.0.1', '::1']],
    [['169.254.169.254']],
    [['0.0.0.0']],
  ])('that resolves to %j is denied without a connection', async (addresses) => {
    for (const allowed of ['*', '*.evil.test', 'listed']) {
      const { registries, victim, name } = await stage((port) => `rebind.evil.test:${port}`, addresses, allowed);
      const error = await failure(registries.get(name).headManifest(REPOSITORY, TAG, patient));
      expect(error.code).toBe('REGISTRY_DENIED');
      expect(victim.connections).toBe(0);
    }
  });

  test('is connected to only at the addresses that are allowed', async () => {
    // 192.0.2.0/24 is for documentation: nobody answers there.
    const { registries, victim, name } = await stage((port) => `mixed.evil.test:${port}`, ['127.0.0.1', '192.0.2.1']);
    const error = await failure(registries.get(name).headManifest(REPOSITORY, TAG, patient));
    expect(error.code).toBe('UPSTREAM_UNAVAILABLE');
    expect(victim.connections).toBe(0);
  });

  test.each([
    (port: number) => `127.0.0.1:${port}`,
    (port: number) => `localhost:${port}`,
    (port: number) => `x.localhost:${port}`,
    (port: number) => `[::1]:${port}`,
    (port: number) => `[::ffff:127.0.0.1]:${port}`,
    (port: number) => `2130706433:${port}`,
    (port: number) => `0x7f.1:${port}`,
    (port: number) => `0177.0.0.1:${port}`,
    (port: number) => `127.1:${port}`,
    () => '169.254.169.254',
    () => '[fe80::1]',
    () => '0.0.0.0',
  ])('and that is an address itself is not on the list: %s', async (host) => {
    const { registries, victim, asked, name } = await stage(host, ['127.0.0.1']);
    expect(registries.allows(name)).toBe(false);
    expect(() => registries.get(name)).toThrow(expect.objectContaining({ code: 'REGISTRY_DENIED' }));
    expect([victim.connections, asked]).toEqual([0, []]);
  });
});

describe('the operator’s word counts', () => {
  test.each([(port: number) => `127.0.0.1:${port}`, (port: number) => `localhost:${port}`])(
    'a listed host that can be nothing else, over http: %s',
    async (host) => {
      const { registries, name } = await stage(host, ['127.0.0.1'], 'listed');
      expect(await registries.get(name).headManifest(REPOSITORY, TAG, patient)).toMatchObject({
        digest: MANIFEST.digest,
      });
    },
  );

  test('an endpoint that was written, whatever it resolves to', async () => {
    const registry = await FakeRegistry.start();
    scratch.defer(() => registry.close());
    const { registries } = openRegistries(
      [{ host: 'registry.test', endpoint: registry.server.urlOf('registry.internal') }],
      { lookup: fakeLookup({ 'registry.internal': ['127.0.0.1'] }) },
    );
    scratch.defer(() => registries.close());
    const client = registries.get('registry.test');
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  });
});

describe('where a registry sends to', () => {
  /** A registry under a name that the operator wrote, which may not send to loopback for that. */
  async function sender(habit: (victim: string) => ReturnType<typeof habits.redirects>) {
    const victim = await FakeRegistry.start();
    scratch.defer(() => victim.close());
    const registry = await FakeRegistry.start();
    scratch.defer(() => registry.close());
    const open = openRegistries([{ host: 'registry.test', endpoint: registry.server.urlOf('registry.internal') }], {
      lookup: fakeLookup({ 'registry.internal': ['127.0.0.1'], 'innocent.test': ['127.0.0.1'] }),
    });
    scratch.defer(() => open.registries.close());
    registry.habits = [habit(String(victim.server.port))];
    return { client: open.registries.get('registry.test'), victim: victim.server };
  }

  test.each(['127.0.0.1', 'localhost', '[::1]', 'innocent.test', '2130706433'])(
    'a redirect to %s is refused without a connection',
    async (hostname) => {
      const { client, victim } = await sender((port) => habits.redirects('blob', () => `http://${hostname}:${port}/x`));
      const error = await failure(client.getBlob(REPOSITORY, BLOB.digest, patient));
      expect(error.code).toBe('REGISTRY_DENIED');
      expect(victim.connections).toBe(0);
    },
  );

  test.each(['127.0.0.1', 'innocent.test', '169.254.169.254'])('a realm at %s is refused', async (hostname) => {
    const { client, victim } = await sender(
      (port) => habits.tokens({ realm: `http://${hostname}:${port}/t` }).registry,
    );
    const error = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(error.code).toBe('REGISTRY_DENIED');
    expect(victim.connections).toBe(0);
  });

  test('a registry on loopback may send to loopback, not to the metadata service', async () => {
    const storage = await FakeRegistry.start({ habits: [habits.objectStore] });
    scratch.defer(() => storage.close());
    const registry = await FakeRegistry.start({
      habits: [habits.redirects('blob', habits.signed(storage.server.url))],
    });
    scratch.defer(() => registry.close());
    const { registries } = openRegistries([{ host: registry.server.host }]);
    scratch.defer(() => registries.close());
    const client = registries.get(registry.server.host);
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });
    registry.habits = [habits.redirects('blob', () => 'http://169.254.169.254/latest/meta-data/')];
    expect((await failure(client.headBlob(REPOSITORY, BLOB.digest, patient))).code).toBe('REGISTRY_DENIED');
  });
});
