import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Client } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { AdminServer } from '../../../src/status/admin-server.ts';
import { adminSocketPath } from '../../../src/status/admin-socket.ts';
import type { Drop } from '../../../src/status/dropped.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

let storePath: string;
const running: AdminServer[] = [];
beforeEach(async () => {
  storePath = await mkdtemp(join(tmpdir(), 'wla-'));
});
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
  await rm(storePath, { recursive: true, force: true });
});

async function start(drop: Drop, path = storePath): Promise<AdminServer> {
  const server = new AdminServer({ storePath: path, drop, logger: pino({ level: 'silent' }) });
  running.push(server);
  await server.start();
  return server;
}

async function ask(body: string, { method = 'POST', path = '/drop' } = {}) {
  const client = new Client('http://localhost', { socketPath: adminSocketPath(storePath) });
  try {
    const response = await client.request({ method, path, body: method === 'GET' ? null : body });
    return { status: response.statusCode, body: await response.body.json() };
  } finally {
    await client.destroy();
  }
}

test('hands on what is to be dropped, and answers with what became of it', async () => {
  const calls: unknown[] = [];
  await start(async (target, { cluster }) => {
    calls.push({ target, cluster });
    return [{ node: 'n1', self: true, removed: [{ what: 'blob', sizeBytes: 3 }] }];
  });
  expect(await ask(JSON.stringify({ digest: DIGEST }))).toEqual({
    status: 200,
    body: { dropped: [{ node: 'n1', self: true, removed: [{ what: 'blob', sizeBytes: 3 }] }] },
  });
  await ask(JSON.stringify({ tag: 'docker.io/library/redis:7', cluster: false }));
  expect(calls).toEqual([
    { target: { kind: 'digest', digest: DIGEST }, cluster: true },
    {
      target: { kind: 'tag', name: { registry: 'docker.io', repository: 'library/redis' }, tag: '7' },
      cluster: false,
    },
  ]);
});

test.each([
  ['no JSON', '{', 400],
  ['nothing to drop', '{}', 400],
  ['both', JSON.stringify({ digest: DIGEST, tag: 'a.b/c:1' }), 400],
  ['a digest that is none', '{"digest":"sha256:abc"}', 400],
  ['a tag without its registry', '{"tag":"redis:7"}', 400],
  ['a body without end', JSON.stringify({ digest: DIGEST, more: 'x'.repeat(100_000) }), 400],
])('%s is refused, and nothing dropped', async (_name, body, status) => {
  let calls = 0;
  await start(async () => {
    calls++;
    return [];
  });
  const answer = await ask(body);
  expect(answer).toMatchObject({ status, body: { error: { code: 'INVALID_NAME', message: expect.any(String) } } });
  expect(calls).toBe(0);
});

test('another path, or method, is none', async () => {
  await start(async () => []);
  expect((await ask('', { path: '/metrics' })).status).toBe(404);
  expect((await ask('', { method: 'GET' })).status).toBe(405);
});

test('what fails is told where it was foreseen, and not in detail where it was not', async () => {
  const errors = [new WindlassError('STORE_UNUSABLE', 'the disk is gone'), new TypeError('internal')];
  await start(async () => {
    throw errors.shift();
  });
  expect((await ask(JSON.stringify({ digest: DIGEST }))).body).toMatchObject({
    error: { message: 'the disk is gone' },
  });
  const second = await ask(JSON.stringify({ digest: DIGEST }));
  expect(second.status).toBe(500);
  expect(JSON.stringify(second.body)).not.toContain('internal');
});

test('the socket is open to its owner alone, and gone after the end with everything else', async () => {
  const server = await start(async () => []);
  const { mode } = await stat(server.path);
  expect((mode & 0o777).toString(8)).toBe('600');
  expect(await readdir(storePath)).toEqual(['admin.sock']);
  await server.stop();
  expect(await readdir(storePath)).toEqual([]);
  await server.stop();
});

test('what a crash left is replaced: a socket that nobody listens to, a half-made one', async () => {
  const dead = createServer().listen(`${storePath}/x`);
  await once(dead, 'listening');
  // A file that is no socket any more stands for the one whose process was killed.
  await writeFile(adminSocketPath(storePath), '');
  await mkdir(join(storePath, '.admin'));
  await writeFile(join(storePath, '.admin', 's'), '');
  await start(async () => []);
  expect((await ask(JSON.stringify({ digest: DIGEST }))).status).toBe(200);
  dead.close();
});

test('a path too long for a socket is said, before anything is made', async () => {
  const long = join(storePath, 'x'.repeat(100));
  await mkdir(long);
  await expect(start(async () => [], long)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringMatching(/at most 107: choose a shorter store\.path/),
  });
  expect(await readdir(long)).toEqual([]);
});

test('the longest path that the system allows is one', async () => {
  const exact = join(storePath, 'x'.repeat(107 - '/admin.sock'.length - storePath.length - 1));
  await mkdir(exact);
  const server = await start(async () => [], exact);
  expect(server.path).toHaveLength(107);
  const socket = connect(server.path);
  await once(socket, 'connect');
  socket.destroy();
});

test('stopping ends a drop that takes its time', async () => {
  const begun = Promise.withResolvers<AbortSignal>();
  const server = await start((_target, { signal }) => {
    begun.resolve(signal);
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  const asked = ask(JSON.stringify({ digest: DIGEST })).catch(() => 'cut');
  const signal = await begun.promise;
  await server.stop();
  expect(signal.aborted).toBe(true);
  expect(await asked).toBe('cut');
});
