import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry } from '../../support/fake-registry/fake-registry.ts';
import { KNOWN_REGISTRIES, type KnownRegistry } from '../../support/fake-registry/known-registries.ts';
import { fakeLookup, openClient, patient, readAll } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

async function start(known: KnownRegistry) {
  const [registry, storage, auth] = await Promise.all([
    FakeRegistry.start(),
    FakeRegistry.start(),
    FakeRegistry.start(),
  ]);
  for (const fake of [registry, storage, auth]) scratch.defer(() => fake.close());
  const habits = known.habits({
    registry: registry.server.url,
    storage: storage.server.url,
    auth: auth.server.urlOf(known.authHostname ?? '127.0.0.1'),
  });
  registry.habits = habits.registry;
  storage.habits = habits.storage ?? [];
  auth.habits = habits.auth ?? [];
  let credentials: { username: string; passwordFile: string } | undefined;
  if (known.credentials !== undefined) {
    const passwordFile = scratch.join('password');
    await writeFile(passwordFile, `${known.credentials.password}\n`);
    credentials = { username: known.credentials.username, passwordFile };
  }
  const names = known.authHostname === undefined ? {} : { [known.authHostname]: ['127.0.0.1'] };
  const open = openClient(
    { host: known.host, endpoint: registry.server.url, credentials },
    { lookup: fakeLookup(names) },
  );
  scratch.defer(() => open.registries.close());
  return { ...open, registry, storage, auth };
}

describe.each(KNOWN_REGISTRIES)('$name', (known) => {
  const repository = known.repository ?? REPOSITORY;

  test('a pull: tag, manifest, blob, and a blob from an offset', async () => {
    const { client, registry, storage, auth } = await start(known);

    const head = await client.headManifest(repository, TAG, patient);
    expect(head.digest).toBe(known.expect.digestOnHead ? MANIFEST.digest : undefined);
    expect(head.sizeBytes).toBe(MANIFEST.bytes.byteLength);
    const manifest = await client.getManifest(repository, MANIFEST.digest, patient);
    expect(Buffer.from(manifest.bytes)).toEqual(MANIFEST.bytes);
    expect(await client.headBlob(repository, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });

    const whole = await client.getBlob(repository, BLOB.digest, patient);
    expect(whole).toMatchObject({ offset: 0, sizeBytes: BLOB.bytes.byteLength });
    expect((await readAll(whole.body)).equals(BLOB.bytes)).toBe(true);
    const rest = await client.getBlob(repository, BLOB.digest, { ...patient, offset: 100_001 });
    const from = known.expect.rangeIgnored === true ? 0 : 100_001;
    expect(rest).toMatchObject({ offset: from, sizeBytes: BLOB.bytes.byteLength });
    expect((await readAll(rest.body)).equals(BLOB.bytes.subarray(from))).toBe(true);

    const tokens = [registry, auth].flatMap(({ server }) =>
      server.requests.filter(({ query, path }) => query.has('service') && /token|auth/.test(path)),
    );
    expect(tokens).toHaveLength(known.expect.tokens);
    expect(storage.server.requests.length > 0).toBe(known.expect.storage);
  });

  test('what is authorised goes to nobody else, and every byte is asked for as it is', async () => {
    const { client, registry, storage, auth, log } = await start(known);
    const blob = await client.getBlob(repository, BLOB.digest, patient);
    await readAll(blob.body);

    expect(storage.server.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    const basic = (fake: FakeRegistry) =>
      fake.server.requests.some(({ headers }) => headers.authorization?.startsWith('Basic ') === true);
    expect(basic(auth)).toBe(known.expect.credentialsSeenBy === 'auth');
    expect(basic(registry)).toBe(known.expect.credentialsSeenBy === 'registry');
    for (const { method, path, headers } of [...registry.server.requests, ...storage.server.requests]) {
      if (method === 'GET' && /blobs|storage/.test(path)) expect(headers['accept-encoding']).toBe('identity');
    }
    const said = JSON.stringify(log);
    expect(said).not.toContain('s3cr3t-signature');
    expect(said).not.toMatch(/token-\d|Basic |Bearer /);
    if (known.credentials !== undefined) expect(said).not.toContain(known.credentials.password);
  });
});
