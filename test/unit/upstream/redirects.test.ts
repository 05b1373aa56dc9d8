import { afterEach, beforeEach, expect, test } from 'vitest';
import { redirectTarget } from '../../../src/upstream/redirect.ts';
import { BLOB, REPOSITORY } from '../../support/fake-registry/fake-content.ts';
import { answerBySpec, FakeRegistry } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, patient, readAll, registryWith } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const hop = (query: URLSearchParams): number => Number(query.get('hop') ?? 0);

/** `count` redirects, then the blob. */
const chain = (count: number, status = 307) =>
  habits.where(
    ({ logged }) => hop(logged.query) < count,
    habits.redirects(
      'blob',
      ({ reference, logged }) => `../../../../storage/${reference}?hop=${hop(logged.query) + 1}`,
      status,
    ),
  );

test.each([301, 302, 303, 307, 308])('%i, relative, with the range carried along', async (status) => {
  const { client, server } = await registryWith(scratch, [chain(1, status)]);
  const blob = await client.getBlob(REPOSITORY, BLOB.digest, { ...patient, offset: 7 });
  expect(blob.offset).toBe(7);
  expect((await readAll(blob.body)).equals(BLOB.bytes.subarray(7))).toBe(true);
  expect(server.requests.map(({ headers }) => headers.range)).toEqual(['bytes=7-', 'bytes=7-']);
});

test('five are followed, a sixth is nonsense', async () => {
  const five = await registryWith(scratch, [chain(5)]);
  expect(await five.client.headBlob(REPOSITORY, BLOB.digest, patient)).toEqual({ sizeBytes: BLOB.bytes.byteLength });
  const loop = await registryWith(scratch, [chain(Number.POSITIVE_INFINITY)]);
  expect((await failure(loop.client.headBlob(REPOSITORY, BLOB.digest, patient))).code).toBe('UPSTREAM_NONSENSE');
  expect(loop.server.requests).toHaveLength(6);
});

test.each([
  ['no Location', undefined],
  ['no URL', 'http://['],
  ['another protocol', 'ftp://127.0.0.1/x'],
  ['a file', 'file:///etc/passwd'],
])('%s is nonsense', async (_name, location) => {
  const { client } = await registryWith(scratch, [habits.answer(307, location === undefined ? {} : { location })]);
  const error = await failure(client.getBlob(REPOSITORY, BLOB.digest, patient));
  expect(error.code).toBe('UPSTREAM_NONSENSE');
});

test('from https to http is refused; user and password are dropped', () => {
  const name = { method: 'GET', registry: 'r', path: '/v2/' };
  const from = new URL('https://r.test/v2/a/blobs/x');
  expect(() => redirectTarget(from, 'http://r.test/x', name)).toThrow(
    expect.objectContaining({ code: 'UPSTREAM_NONSENSE', message: expect.stringContaining('from https to http') }),
  );
  expect(redirectTarget(from, '//user:pw@cdn.test/x?sig=1#f', name).href).toBe('https://cdn.test/x?sig=1');
});

test('authorisation stays with the registry when it redirects to itself and then away', async () => {
  const storage = await FakeRegistry.start({ habits: [habits.objectStore] });
  scratch.defer(() => storage.close());
  const { client, registry, server } = await registryWith(scratch, []);
  const issued = habits.tokens({ realm: `${server.url}/token` });
  registry.habits = [
    issued.server,
    (exchange, next) => (exchange.logged.path.startsWith('/storage/') ? next() : issued.registry(exchange, next)),
    habits.where(
      ({ repository }) => repository !== '',
      habits.redirects('blob', ({ reference }) => `/storage/${reference}`),
    ),
    habits.redirects('blob', habits.signed(storage.server.url)),
    answerBySpec,
  ];
  const blob = await client.getBlob(REPOSITORY, BLOB.digest, patient);
  expect((await readAll(blob.body)).equals(BLOB.bytes)).toBe(true);
  expect(server.seen('GET', /^\/storage/)[0]?.headers.authorization).toMatch(/^Bearer /);
  expect(storage.server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
});

test('a message never quotes a signed address', async () => {
  const storage = await FakeRegistry.start({ habits: [habits.answer(403)] });
  scratch.defer(() => storage.close());
  const { client, log } = await registryWith(scratch, [habits.redirects('blob', habits.signed(storage.server.url))]);
  const error = await failure(client.getBlob(REPOSITORY, BLOB.digest, patient));
  expect(error.message).toContain(`GET registry.test /v2/team/app/blobs/${BLOB.digest}: upstream answered 403`);
  expect(error.message + JSON.stringify(log)).not.toContain('signature');
});
