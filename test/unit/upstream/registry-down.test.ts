import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RegistryClient } from '../../../src/upstream/registry-client.ts';
import { REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, fakeLookup, openClient, patient, registryWith } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

function open(...args: Parameters<typeof openClient>) {
  const { client, registries } = openClient(...args);
  scratch.defer(() => registries.close());
  return client;
}

/** Nobody listens there: discard, which no machine has had for long. */
const REFUSING = 'http://127.0.0.1:9';

async function failed(client: RegistryClient) {
  const { code, registryDown } = await failure(client.headManifest(REPOSITORY, TAG, patient));
  return [code, registryDown];
}

test('a registry that takes no connection, has no address or answers 5xx is down', async () => {
  const down = ['UPSTREAM_UNAVAILABLE', true];
  expect(await failed(open({ host: 'r.example', endpoint: REFUSING }))).toEqual(down);
  const nameless = open({ host: 'r.example', endpoint: 'http://r.example' }, { lookup: fakeLookup({}) });
  expect(await failed(nameless)).toEqual(down);
  for (const status of [500, 503]) {
    const { client } = await registryWith(scratch, [habits.answer(status)]);
    expect(await failed(client)).toEqual(down);
  }
});

test('one whose token server, proxy, certificate authority or law is in the way is not', async () => {
  const notDown = ['UPSTREAM_UNAVAILABLE', false];
  const challenge = { 'www-authenticate': `Bearer realm="${REFUSING}/token",service="x"` };
  for (const habit of [habits.answer(451), habits.answer(401, challenge)]) {
    const { client } = await registryWith(scratch, [habit]);
    expect((await failed(client))[1]).toBe(false);
  }
  const proxied = open({ host: 'r.example', endpoint: 'http://r.example' }, { proxy: REFUSING });
  expect(await failed(proxied)).toEqual(notDown);
  const ca = scratch.join('ca.pem');
  await writeFile(ca, 'no certificate');
  expect(await failed(open({ host: 'r.example', endpoint: REFUSING, ca }))).toEqual(notDown);
});
