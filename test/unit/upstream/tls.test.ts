import { copyFile, rename, writeFile } from 'node:fs/promises';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry, type Habit } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, fakeLookup, openClient, patient, readAll } from '../../support/fake-registry/open-client.ts';
import { selfSigned } from '../../support/fake-registry/self-signed.ts';
import { commandsMissing, describeWith } from '../../support/requires.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const lookup = fakeLookup({ 'registry.internal': ['127.0.0.1'] });
const internal = (registry: FakeRegistry) => ({
  host: 'registry.test',
  endpoint: registry.server.urlOf('registry.internal'),
});

async function start(options: Parameters<typeof FakeRegistry.start>[0]) {
  const registry = await FakeRegistry.start(options);
  scratch.defer(() => registry.close());
  return registry;
}

function open(...args: Parameters<typeof openClient>) {
  const opened = openClient(...args);
  scratch.defer(() => opened.registries.close());
  return opened.client;
}

describeWith('TLS to registries', [commandsMissing('openssl')], () => {
  test('a certificate that nobody signed is refused, unless its CA is trusted for this registry or for all', async () => {
    const tls = await selfSigned(scratch, 'registry.internal');
    const registry = await start({ tls });
    const untrusting = open(internal(registry), { lookup });
    expect(await failure(untrusting.headManifest(REPOSITORY, TAG, patient))).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: expect.stringContaining('DEPTH_ZERO_SELF_SIGNED_CERT'),
      registryDown: false,
    });
    expect(registry.server.requests).toHaveLength(0);
    for (const client of [
      open({ ...internal(registry), ca: tls.certPath }, { lookup }),
      open(internal(registry), { lookup, ca: [tls.certPath] }),
    ]) {
      expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    }
  });

  test('a certificate for another name is refused', async () => {
    const tls = await selfSigned(scratch, 'other.internal');
    const registry = await start({ tls });
    const client = open({ ...internal(registry), ca: tls.certPath }, { lookup });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).message).toContain(
      'ERR_TLS_CERT_ALTNAME_INVALID',
    );
  });

  test.each([
    ['missing', undefined, 'does not exist'],
    ['not PEM', 'hello', 'has no certificate in PEM form'],
    [
      'broken',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      'has a certificate that cannot be read',
    ],
  ])('a CA file that is %s: an error that names it', async (_name, contents, reason) => {
    const ca = scratch.join('ca.crt');
    if (contents !== undefined) await writeFile(ca, contents);
    const client = open({ host: 'registry.test', ca }, { lookup });
    expect(await failure(client.headManifest(REPOSITORY, TAG, patient))).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: `HEAD registry.test /v2/team/app/manifests/v1: CA file ${ca}: ${reason}`,
    });
  });

  test('a CA that changes is used for new connections, and a body that is under way is not cut', async () => {
    const [old, fresh] = [await selfSigned(scratch, 'registry.internal'), await selfSigned(scratch, 'cdn.internal')];
    const ca = scratch.join('ca.crt');
    await copyFile(fresh.certPath, ca);
    let nowMs = 0;
    const held: (() => void)[] = [];
    const registry = await start({
      tls: old,
      habits: [
        habits.onKind('blob', ({ response }) => {
          response.writeHead(200, { 'content-length': 2 });
          response.write('a');
          held.push(() => response.end('b'));
        }),
      ],
    });
    const client = open({ ...internal(registry), ca }, { lookup, now: () => nowMs });
    const replace = async (path: string): Promise<void> => {
      await copyFile(path, scratch.join('next'));
      await rename(scratch.join('next'), ca);
      nowMs += 2_000;
    };
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
    await replace(old.certPath);
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    const { body } = await client.getBlob(REPOSITORY, BLOB.digest, patient);
    await replace(fresh.certPath);
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAVAILABLE');
    held[0]?.();
    expect((await readAll(body)).toString()).toBe('ab');
  });

  test('a client certificate is shown to the registry, and not to where it redirects to', async () => {
    const tls = await selfSigned(scratch, 'registry.internal');
    const us = await selfSigned(scratch, 'agent');
    const shown: (string | undefined)[] = [];
    const note: Habit = ({ request }, next) => {
      const subject = (request.socket as TLSSocket).getPeerCertificate().subject;
      shown.push(subject?.CN as string | undefined);
      next();
    };
    const asks = { requestCert: true, rejectUnauthorized: false };
    // On the registry's own name but another port: another origin, and one that may be connected to.
    const cdn = await start({ tls: { ...tls, ...asks }, habits: [note, habits.objectStore] });
    const registry = await start({
      tls: { ...tls, ...asks },
      habits: [note, habits.redirects('blob', habits.signed(cdn.server.urlOf('registry.internal')))],
    });
    const identity = { clientCert: us.certPath, clientKey: us.keyPath };
    const client = open({ ...internal(registry), ca: tls.certPath, ...identity }, { lookup });
    expect(await client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });
    expect(shown).toEqual(['agent', undefined]);
  });

  test('a key that does not fit its certificate: an error that names both', async () => {
    const [one, other] = [await selfSigned(scratch, 'one'), await selfSigned(scratch, 'other')];
    const client = open({ host: 'registry.test', clientCert: one.certPath, clientKey: other.keyPath }, { lookup });
    const { message } = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(message).toContain(one.certPath);
    expect(message).toContain(other.keyPath);
  });

  test('a token server over http is refused where the registry is https', async () => {
    const tls = await selfSigned(scratch, 'registry.internal');
    const registry = await start({
      tls,
      habits: [habits.tokens({ realm: 'http://registry.internal/token' }).registry],
    });
    const client = open({ ...internal(registry), ca: tls.certPath }, { lookup });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_NONSENSE');
  });
});
