import { rename, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findEntry, parseDockerConfig } from '../../../src/upstream/docker-config.ts';
import { MANIFEST, REPOSITORY, TAG } from '../../support/fake-registry/fake-content.ts';
import * as habits from '../../support/fake-registry/habits.ts';
import { failure, patient, registryWith } from '../../support/fake-registry/open-client.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const HUB = ['docker.io', 'registry-1.docker.io', 'index.docker.io'];

describe('a docker config', () => {
  const accountFor = (auths: object, hosts: readonly string[], repository = REPOSITORY) => {
    const entry = findEntry(parseDockerConfig(JSON.stringify({ auths })), hosts, repository);
    return entry && `${entry.username}:${entry.password}`;
  };
  const auth = { auth: base64('u:p') };

  test.each([
    ['https://index.docker.io/v1/', HUB],
    ['docker.io', HUB],
    ['quay.io', ['quay.io']],
    ['https://quay.io', ['quay.io']],
    ['https://QUAY.io/v2/', ['quay.io']],
    ['registry.local:5000', ['registry.local:5000']],
    ['10.0.0.2:5000', ['registry.local', '10.0.0.2:5000']],
  ])('%s is found for %j', (key, hosts) => {
    expect(accountFor({ [key]: auth }, hosts)).toBe('u:p');
  });

  test.each([
    ['quay.io', ['evil.quay.io']],
    ['registry.local', ['registry.local:5000']],
    ['quay.io/other', ['quay.io']],
    ['quay.io/team/ap', ['quay.io']],
  ])('%s is not for %j', (key, hosts) => {
    expect(accountFor({ [key]: auth }, hosts)).toBeUndefined();
  });

  test('the longest path wins', () => {
    const auths = {
      'quay.io': { auth: base64('all:p') },
      'quay.io/team/app': { auth: base64('app:p') },
      'quay.io/team': { auth: base64('team:p') },
    };
    expect(accountFor(auths, ['quay.io'])).toBe('app:p');
    expect(accountFor(auths, ['quay.io'], 'team/other')).toBe('team:p');
    expect(accountFor(auths, ['quay.io'], 'teamwork/x')).toBe('all:p');
  });

  test('username and password in the open; an entry that is the mark of a helper is none', () => {
    expect(accountFor({ 'quay.io': { username: 'u', password: 'p:q' } }, ['quay.io'])).toBe('u:p:q');
    expect(accountFor({ 'quay.io': {} }, ['quay.io'])).toBeUndefined();
  });

  test.each([
    '',
    'secret-word',
    '[]',
    '{"auths":[]}',
    '{"auths":{"quay.io":"secret-word"}}',
    '{"auths":{"quay.io":{"auth":"c2VjcmV0LXdvcmQ="}}}',
  ])('%j is refused, and not quoted', (text) => {
    const error = (() => {
      try {
        return parseDockerConfig(text);
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain('secret-word');
  });
});

describe('files', () => {
  test('a password that changes is used without a restart', async () => {
    const passwordFile = scratch.join('password');
    await writeFile(passwordFile, 'old\n');
    let nowMs = 0;
    const { client, registry } = await registryWith(
      scratch,
      [habits.basicAuth('user:old')],
      { now: () => nowMs },
      { credentials: { username: 'user', passwordFile } },
    );
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
    registry.habits = [habits.basicAuth('user:new')];
    await writeFile(scratch.join('next'), 'new');
    await rename(scratch.join('next'), passwordFile);
    nowMs = 1_500;
    expect(await client.headManifest(REPOSITORY, TAG, patient)).toMatchObject({ digest: MANIFEST.digest });
  });

  test.each([
    ['missing', undefined, 'does not exist'],
    ['empty', '', 'is empty'],
  ])('a password file that is %s: an error that names it, not an anonymous try', async (_name, contents, reason) => {
    const passwordFile = scratch.join('password');
    if (contents !== undefined) await writeFile(passwordFile, contents);
    const { client, server } = await registryWith(
      scratch,
      [habits.basicAuth('user:p')],
      {},
      { credentials: { username: 'user', passwordFile } },
    );
    const error = await failure(client.headManifest(REPOSITORY, TAG, patient));
    expect(error).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE', message: `password file ${passwordFile}: ${reason}` });
    expect(server.requests).toHaveLength(1);
  });

  test('a docker config that breaks, and is mended', async () => {
    const dockerConfig = scratch.join('config.json');
    const good = JSON.stringify({ auths: { 'registry.test': { auth: base64('user:p') } } });
    await writeFile(dockerConfig, good);
    let nowMs = 0;
    const { client } = await registryWith(
      scratch,
      [habits.basicAuth('user:p')],
      { now: () => nowMs },
      { credentials: { dockerConfig } },
    );
    const head = () => client.headManifest(REPOSITORY, TAG, patient);
    await head();
    await writeFile(dockerConfig, '{ "auths"');
    nowMs += 1_500;
    expect(await failure(head())).toMatchObject({
      code: 'UPSTREAM_UNAVAILABLE',
      message: `docker config ${dockerConfig}: is not JSON`,
    });
    await rm(dockerConfig);
    expect((await failure(head())).message).toBe(`docker config ${dockerConfig}: does not exist`);
    await writeFile(dockerConfig, good);
    await head();
  });

  test('helpers are not run, and the log says so once', async () => {
    const dockerConfig = scratch.join('config.json');
    await writeFile(dockerConfig, JSON.stringify({ credHelpers: { 'registry.test': 'ecr-login' } }));
    const { client, log } = await registryWith(
      scratch,
      [habits.basicAuth('user:p')],
      {},
      { credentials: { dockerConfig } },
    );
    for (let index = 0; index < 3; index += 1) {
      expect((await failure(client.headManifest(REPOSITORY, TAG, patient))).code).toBe('UPSTREAM_UNAUTHORIZED');
    }
    const warnings = log.filter(({ level }) => level === 40);
    expect(warnings).toMatchObject([{ helper: 'ecr-login', path: dockerConfig }, { hosts: expect.anything() }]);
  });
});
