import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RegistrySettings } from '../../../src/config/registry-settings.ts';
import type { RegistriesOptions } from '../../../src/upstream/registries.ts';
import { BLOB, MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import { FakeRegistry, type Habit } from '../../support/fake-registry/fake-registry.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, fakeLookup, openClient, patient, readAll } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

interface StageOptions extends Partial<Omit<habits.TokensOptions, 'realm'>> {
  /** In front of the token server. */
  readonly server?: Habit;
  /** A realm that is not the auth server's own. */
  readonly realm?: string;
  readonly settings?: Partial<RegistrySettings>;
  readonly client?: Partial<RegistriesOptions>;
}

/** A registry, and its token server on another port of the same host. */
async function stage({ server, settings, client, realm, ...options }: StageOptions = {}) {
  const [registry, auth] = await Promise.all([FakeRegistry.start(), FakeRegistry.start()]);
  for (const fake of [registry, auth]) scratch.defer(() => fake.close());
  const tokens = habits.tokens({ realm: realm ?? `${auth.server.url}/token`, ...options });
  registry.habits = [tokens.registry];
  auth.habits = server === undefined ? [tokens.server] : [server, tokens.server];
  const open = openClient({ host: 'registry.test', endpoint: registry.server.url, ...settings }, client);
  scratch.defer(() => open.registries.close());
  return { ...open, registry: registry.server, auth: auth.server, tokens };
}

async function dockerConfig(auths: object): Promise<{ credentials: { dockerConfig: string } }> {
  const path = scratch.join('config.json');
  await writeFile(path, JSON.stringify({ auths }));
  return { credentials: { dockerConfig: path } };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('anonymous tokens', () => {
  test('many calls at once share one token', async () => {
    const { client, tokens, registry } = await stage();
    await Promise.all(Array.from({ length: 20 }, () => client.headManifest(REPOSITORY, TAG, patient)));
    expect(tokens.issued).toBe(1);
    registry.requests.length = 0;
    await client.getManifest(REPOSITORY, TAG, patient);
    expect(registry.requests).toHaveLength(1); // no second challenge
  });

  test('each repository has its own, for pulling alone', async () => {
    const { client, auth } = await stage({ withoutScope: true });
    await client.headManifest('a/b', TAG, patient);
    await client.headManifest('c/d', TAG, patient);
    expect(auth.requests.map(({ query }) => query.get('scope'))).toEqual([
      'repository:a/b:pull',
      'repository:c/d:pull',
    ]);
    expect(auth.requests.every(({ method, headers }) => method === 'GET' && !headers.authorization)).toBe(true);
  });

  test.each([
    [undefined, 50, 70],
    [300, 265, 305],
  ])('expires_in %s: used at %i s, replaced at %i s without a refusal', async (expiresIn, still, gone) => {
    let nowMs = 0;
    const { client, tokens, registry } = await stage({
      ...(expiresIn === undefined ? {} : { expiresIn }),
      client: { now: () => nowMs },
    });
    await client.headManifest(REPOSITORY, TAG, patient);
    nowMs = still * 1000;
    await client.headManifest(REPOSITORY, TAG, patient);
    expect(tokens.issued).toBe(1);
    nowMs = gone * 1000;
    await client.headManifest(REPOSITORY, TAG, patient);
    expect(tokens.issued).toBe(2);
    expect(registry.requests).toHaveLength(4); // one of them the first challenge
  });

  test('a token that expires in the middle of a pull: one refusal, a fresh one, the same answer', async () => {
    const { client, tokens, registry } = await stage({ uses: 2 });
    await client.headManifest(REPOSITORY, TAG, patient);
    await client.getManifest(REPOSITORY, TAG, patient);
    registry.requests.length = 0;
    const blob = await client.getBlob(REPOSITORY, BLOB.digest, { ...patient, offset: 1_000 });
    expect(blob.offset).toBe(1_000);
    expect((await readAll(blob.body)).equals(BLOB.bytes.subarray(1_000))).toBe(true);
    expect(tokens.issued).toBe(2);
    expect(registry.requests).toHaveLength(2);
  });

  test('tokens that are all refused: two tries, then UPSTREAM_UNAUTHORIZED', async () => {
    const { client, registry, tokens } = await stage({ uses: 0 });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    expect([registry.requests.length, tokens.issued]).toEqual([2, 1]);
    // Nothing is remembered as refused.
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    expect(registry.requests.length).toBe(4);
  });

  test('a caller that leaves does not take the token from the others', async () => {
    const held: (() => void)[] = [];
    const { client, tokens } = await stage({ server: (_exchange, next) => void held.push(next) });
    const abort = new AbortController();
    const leaver = client.headManifest(REPOSITORY, TAG, { signal: abort.signal });
    const stayer = client.headManifest(REPOSITORY, TAG, patient);
    await expect.poll(() => held.length).toBe(1);
    abort.abort(new Error('gone'));
    await expect(leaver).rejects.toThrow('gone');
    held[0]?.();
    expect(await stayer).toMatchObject({ digest: MANIFEST.digest });
    expect(tokens.issued).toBe(1);
  });

  test('a token needs no slot of the budget', async () => {
    const { client } = await stage({ client: { maxRequests: 1 } });
    const all = Array.from({ length: 5 }, (_, index) => client.headManifest(`team/app${index}`, TAG, patient));
    expect(await Promise.all(all)).toHaveLength(5);
  });
});

describe('a token server that fails', () => {
  test.each([
    ['403', habits.answer(403), 'UPSTREAM_UNAUTHORIZED'],
    ['401', habits.answer(401), 'UPSTREAM_UNAUTHORIZED'],
    ['400', habits.answer(400), 'UPSTREAM_UNAUTHORIZED'],
    ['404', habits.answer(404), 'UPSTREAM_UNAUTHORIZED'],
    ['429', habits.answer(429, { 'retry-after': '7' }), 'UPSTREAM_RATE_LIMITED'],
    ['500', habits.answer(500), 'UPSTREAM_UNAVAILABLE'],
    ['a web page', habits.webPage, 'UPSTREAM_NONSENSE'],
    ['no token', habits.answer(200, {}, '{"tok":"secret-one"}'), 'UPSTREAM_NONSENSE'],
    ['a token of two lines', habits.answer(200, {}, '{"token":"secret-one\\r\\nx: y"}'), 'UPSTREAM_NONSENSE'],
    [
      'a redirect for ever',
      ({ response }) => void response.writeHead(302, { location: '/token' }).end(),
      'UPSTREAM_NONSENSE',
    ],
    ['a cut', ({ response }) => void response.socket?.destroy(), 'UPSTREAM_UNAVAILABLE'],
  ] satisfies [string, Habit, string][])('%s', async (_name, server, code) => {
    const { client, log } = await stage({ server });
    const error = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/registry\.test http:\/\/127\.0\.0\.1:\d+\/token/);
    expect(error.message + JSON.stringify(log)).not.toContain('secret-one');
    if (code === 'UPSTREAM_RATE_LIMITED') expect(error.retryAfterMs).toBe(7_000);
  });

  test('429 lets the whole registry rest: the next call asks nobody', async () => {
    const { client, registry, auth } = await stage({ server: habits.answer(429, { 'retry-after': '60' }) });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_RATE_LIMITED');
    expect((await failure(client.headManifest('other/app', TAG, patient))).code).toBe('UPSTREAM_RATE_LIMITED');
    expect([registry.requests.length, auth.requests.length]).toEqual([1, 1]);
  });

  test.each(['', 'file:///etc/passwd', 'ftp://127.0.0.1/token', 'not a url'])('realm %j is refused', async (realm) => {
    const { client } = await stage({ realm });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_NONSENSE');
  });

  test('it recovers: the failure is not remembered', async () => {
    const { client } = await stage({ server: habits.times(1, habits.answer(500)) });
    await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  });
});

describe('9. stored credentials', () => {
  const account = 'user:p:w';

  test('go to a token server on the registry’s host', async () => {
    const settings = await dockerConfig({ 'registry.test': { auth: base64(account) } });
    const { client, auth } = await stage({ settings, account });
    await client.headManifest('private/app', TAG, patient);
    expect(auth.requests.map(({ headers }) => headers.authorization)).toEqual([`Basic ${base64(account)}`]);
  });

  test('do not go to another domain: anonymous, and a log line', async () => {
    const [registry, evil] = await Promise.all([FakeRegistry.start(), FakeRegistry.start()]);
    for (const fake of [registry, evil]) scratch.defer(() => fake.close());
    const tokens = habits.tokens({ realm: `${evil.server.urlOf('tokens.evil.test')}/token`, account });
    registry.habits = [tokens.registry];
    evil.habits = [tokens.server];
    const settings = await dockerConfig({ 'registry.test': { auth: base64(account) } });
    const { client, registries, log } = openClient(
      { host: 'registry.test', endpoint: registry.server.url, ...settings },
      { lookup: fakeLookup({ 'tokens.evil.test': ['127.0.0.1'] }) },
    );
    scratch.defer(() => registries.close());
    await client.headManifest(REPOSITORY, TAG, patient);
    await client.headManifest('team/other', TAG, patient);
    expect(evil.server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    expect(log.filter(({ level }) => level === 40)).toMatchObject([{ realm: `tokens.evil.test:${evil.server.port}` }]);
  });

  test('that are wrong are an error, never an anonymous try', async () => {
    const settings = await dockerConfig({ 'registry.test': { auth: base64('user:wrong') } });
    const { client, auth } = await stage({ settings, account });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    expect(auth.requests.every(({ headers }) => headers.authorization !== undefined)).toBe(true);
  });

  test('do not follow the token server’s redirect to another host', async () => {
    const other = await FakeRegistry.start({ habits: [habits.answer(200, {}, '{"token":"t"}')] });
    scratch.defer(() => other.close());
    const settings = await dockerConfig({ 'registry.test': { auth: base64(account) } });
    const { client } = await stage({
      settings,
      account,
      server: habits.answer(307, { location: `${other.server.url}/elsewhere` }),
    });
    await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(other.server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  test('a refresh token is exchanged by POST', async () => {
    const settings = await dockerConfig({ 'registry.test': { auth: base64('user:'), identitytoken: 'refresh-me' } });
    const { client, auth } = await stage({
      settings,
      server: habits.onMethod('POST', ({ response }) => void response.end('{"access_token":"posted"}')),
    });
    expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED'); // not our token
    const form = new URLSearchParams(auth.requests[0]?.body);
    expect(Object.fromEntries(form)).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'refresh-me',
      service: 'fake-service',
      scope: 'repository:team/app:pull',
    });
    expect(auth.requests.map(({ method }) => method)).toEqual(['POST']);
  });

  test.each([400, 401, 404, 405])('8. a POST answered with %i: GET', async (post) => {
    const settings = await dockerConfig({ 'registry.test': { username: 'user', identitytoken: 'refresh-me' } });
    const { client, auth } = await stage({ settings, post, account: 'user:refresh-me' });
    expect(await client.headManifest('private/app', TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    expect(auth.requests.map(({ method }) => method)).toEqual(['POST', 'GET']);
  });
});

describe('Basic', () => {
  test('is answered only with credentials, and not offered again when refused', async () => {
    const registry = await FakeRegistry.start({ habits: [habits.basicAuth('user:right')] });
    scratch.defer(() => registry.close());
    const anonymous = openClient({ host: 'registry.test', endpoint: registry.server.url });
    scratch.defer(() => anonymous.registries.close());
    expect((await failure(anonymous.client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    expect(registry.server.requests).toHaveLength(1);

    const settings = await dockerConfig({ 'registry.test': { auth: base64('user:wrong') } });
    const wrong = openClient({ host: 'registry.test', endpoint: registry.server.url, ...settings });
    scratch.defer(() => wrong.registries.close());
    expect((await failure(wrong.client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    expect(registry.server.requests).toHaveLength(3);
  });

  test('of another host after a redirect is never answered', async () => {
    const other = await FakeRegistry.start({ habits: [habits.basicAuth('user:p')] });
    scratch.defer(() => other.close());
    const settings = await dockerConfig({ 'registry.test': { auth: base64('user:p') } });
    const registry = await FakeRegistry.start({ habits: [habits.redirects('blob', habits.signed(other.server.url))] });
    scratch.defer(() => registry.close());
    const { client, registries } = openClient({ host: 'registry.test', endpoint: registry.server.url, ...settings });
    scratch.defer(() => registries.close());
    const error = await failure(client.getBlob(REPOSITORY, BLOB.digest, patient));
    expect(error.code).toBe('UPSTREAM_UNAUTHORIZED');
    expect(other.server.requests).toHaveLength(1);
  });
});

test('10. another registry behind a redirect is answered with an anonymous token', async () => {
  const region = await FakeRegistry.start();
  scratch.defer(() => region.close());
  const tokens = habits.tokens({ realm: `${region.server.url}/v2/token` });
  region.habits = [tokens.server, tokens.registry];
  const settings = await dockerConfig({ 'registry.test': { auth: base64('user:p') } });
  const registry = await FakeRegistry.start({
    habits: [habits.redirects('manifest', ({ logged }) => `${region.server.url}${logged.path}`)],
  });
  scratch.defer(() => registry.close());
  const { client, registries } = openClient({ host: 'registry.test', endpoint: registry.server.url, ...settings });
  scratch.defer(() => registries.close());
  expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  expect(region.server.requests.some(({ headers }) => headers.authorization?.startsWith('Basic ') === true)).toBe(
    false,
  );
  expect(registry.server.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
});
