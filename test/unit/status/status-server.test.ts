import { once } from 'node:events';
import { request as ask, type IncomingMessage } from 'node:http';
import { pino } from 'pino';
import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import type { IngestStatus } from '../../../src/pull/ingest-status.ts';
import type { NamesShown } from '../../../src/status/asker.ts';
import { MAX_LISTENERS } from '../../../src/status/event-stream.ts';
import { History } from '../../../src/status/history.ts';
import { StatusReport } from '../../../src/status/status-report.ts';
import { StatusServer } from '../../../src/status/status-server.ts';

const INGEST: IngestStatus = {
  id: 'i',
  pull: 'p',
  origin: { registry: 'docker.io', repository: 'secret/one' },
  digest: parseDigest(`sha256:${'a'.repeat(64)}`),
  state: 'writing',
  sizeBytes: 10,
  written: 5,
  source: 'upstream',
  parents: [],
  parentRole: undefined,
  path: [],
  readers: 1,
  children: 0,
  bytesPerSecond: 1,
  startedAtMs: 0,
};

let server: StatusServer;
beforeEach(() => start('local'));
afterEach(() => server.stop());

async function start(names: NamesShown): Promise<void> {
  const metrics = new Metrics();
  const history = new History(metrics);
  const running = () => [{ ...INGEST, to: [] }];
  server = new StatusServer({
    listen: { host: '127.0.0.1', port: 0 },
    metrics,
    blobs: { running },
    report: new StatusReport({
      node: 'n1',
      zone: () => '',
      version: '1',
      discovery: 'none',
      transfers: running,
      store: () => ({ blobs: 0, blobBytes: 0, ingestBytes: 0, maxBytes: 1 }),
      history,
      metrics,
    }),
    history,
    recent: () => [],
    names,
    refresh: () => {},
    logger: pino({ level: 'silent' }),
  });
  await server.start();
}

const get = (path: string, headers: Record<string, string> = {}) =>
  request(`http://${server.address}${path}`, { headers });

test('the page, its files and its answers may use nothing of elsewhere, and stand in nobody’s frame', async () => {
  for (const path of ['/', '/page/main.js', '/page/page.css', '/status', '/metrics', '/nothing']) {
    const { headers, body } = await get(path);
    await body.dump();
    expect(headers['content-security-policy'], path).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['content-security-policy']).not.toMatch(/unsafe|\*|http/);
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
    expect(headers['access-control-allow-origin']).toBeUndefined();
  }
});

test('a file that has not changed is not sent again', async () => {
  const first = await get('/page/main.js');
  await first.body.dump();
  const again = await get('/page/main.js', { 'if-none-match': String(first.headers.etag) });
  await again.body.dump();
  expect([first.statusCode, again.statusCode]).toEqual([200, 304]);
});

test.each([
  '/page/',
  '/page/nothing.js',
  '/page/../status-server.ts',
  '/page/%2e%2e/status-server.ts',
  '/page/..%2fasker.ts',
])('%s is not there', async (path) => {
  // As it stands: neither fetch nor undici would send dots.
  const { hostname, port } = new URL(`http://${server.address}`);
  const asked = ask({ hostname, port, path, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  expect(response.statusCode).toBe(404);
});

test.each(['POST', 'PUT', 'DELETE'] as const)('%s changes nothing, wherever', async (method) => {
  for (const path of ['/', '/status', '/events', '/page/main.js', '/ingests']) {
    const { statusCode, body } = await request(`http://${server.address}${path}`, { method });
    await body.dump();
    expect(statusCode).toBe(404);
  }
});

test.each([
  ['local', 'localhost', true],
  ['local', 'evil.example', false],
  ['all', 'evil.example', true],
  ['none', 'localhost', false],
] as const)('status.names %s, asked as %s: names are told: %s', async (names, host, told) => {
  await server.stop();
  await start(names);
  for (const path of ['/status', '/ingests']) {
    const { body } = await get(path, { host });
    const text = await body.text();
    expect(text).toContain('docker.io');
    expect(text.includes('secret/one'), path).toBe(told);
  }
  const { body } = await get('/events', { host });
  let text = '';
  for await (const chunk of body) {
    text += chunk;
    if (text.includes('event: status') && text.endsWith('\n\n')) break;
  }
  expect(text.includes('secret/one')).toBe(told);
});

test('one page too many is told to come back later', async () => {
  const bodies = await Promise.all(Array.from({ length: MAX_LISTENERS }, () => get('/events')));
  const { statusCode, headers, body } = await get('/events');
  await body.dump();
  expect({ statusCode, after: headers['retry-after'] }).toEqual({ statusCode: 503, after: '5' });
  for (const { statusCode: ok, body: listening } of bodies) {
    expect(ok).toBe(200);
    listening.on('error', () => {});
    listening.destroy();
  }
});
