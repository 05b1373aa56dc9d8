import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { bytesOf, digestOf } from '../pull/scripted-source.ts';
import { gate, startMirror } from './mirror-fixture.ts';

const BYTES = bytesOf(300_000);
const PATH = `library/redis/blobs/${digestOf(BYTES)}`;

describe('read-only', () => {
  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'])(
    '%s is answered with 405 before a body is sent, and the connection ends',
    async (method) => {
      const { upstream, connect } = await startMirror();
      const connection = await connect();
      connection.get(`/v2/${PATH}`, { 'content-length': '1000000000' }, method);
      const answer = await connection.answer();
      expect(answer.status).toBe(405);
      expect(answer.headers).toMatchObject({
        allow: 'GET, HEAD',
        connection: 'close',
        'content-type': 'application/json',
      });
      expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'UNSUPPORTED' }] });
      await connection.ended();
      expect(upstream.requests).toEqual([]);
    },
  );

  test('who asks whether it may send a body is told 405, not 100', async () => {
    const { connect } = await startMirror();
    const connection = await connect();
    connection.get('/v2/a/blobs/uploads/', { 'content-length': '10', expect: '100-continue' }, 'POST');
    expect((await connection.answer()).status).toBe(405);
  });
});

describe('refusals', () => {
  test.each([
    ['/v2/a/manifests/7?ns=evil.example', 403, 'DENIED'],
    ['/v2/a/manifests/7?ns=169.254.169.254', 403, 'DENIED'],
    ['/v2/a/tags/list?ns=127.0.0.1:80', 403, 'DENIED'],
    [`/v2/a/blobs/${digestOf(BYTES)}?ns=localhost:1`, 403, 'DENIED'],
    ['/v2/a/../../etc/passwd', 404, undefined],
    ['/v2/a/%2e%2e/manifests/7', 400, 'NAME_INVALID'],
    ['/v2/a%2fb/manifests/7', 400, 'NAME_INVALID'],
    ['/v2/%zz/manifests/7', 400, 'NAME_INVALID'],
    ['/v2/a/manifests/%ff', 400, 'NAME_INVALID'],
    [`/v2/${'a/'.repeat(600)}b/manifests/7`, 400, 'NAME_INVALID'],
    [`/v2/${'x'.repeat(8_000)}/manifests/7`, 400, 'NAME_INVALID'],
    ['/v2/a/blobs/sha256:short', 400, 'DIGEST_INVALID'],
    ['/', 404, undefined],
    ['/metrics', 404, undefined],
    ['*', 404, undefined],
  ])('%s', async (path, status, code) => {
    const { upstream, connect } = await startMirror();
    const connection = await connect();
    connection.get(path);
    const answer = await connection.answer();
    expect(answer.status).toBe(status);
    const { errors } = JSON.parse(answer.body.toString());
    expect(errors).toEqual([
      { code: code ?? expect.any(String), message: expect.any(String), detail: { windlass: expect.any(String) } },
    ]);
    expect(upstream.requests).toEqual([]);
  });

  test('headers without end: refused, and others are served', async () => {
    const { mirror, connect } = await startMirror();
    const connection = await connect();
    connection.send(`GET /v2/ HTTP/1.1\r\nhost: m\r\n${'x-flood: 1\r\n'.repeat(6_000)}`);
    expect((await connection.head()).status).toBe(431);
    await connection.ended();
    expect((await httpGet(mirror.url(''))).status).toBe(200);
  });

  test('a repository name as long as the specification allows', async () => {
    const { mirror, upstream } = await startMirror();
    const name = `library/${'x'.repeat(247)}`;
    upstream.serve(`${name}/blobs/${digestOf(BYTES)}`, BYTES);
    expect((await httpGet(mirror.url(`${name}/blobs/${digestOf(BYTES)}`))).status).toBe(200);
  });
});

describe('connections', () => {
  test('at the ceiling the one that has been idle longest is closed; one with a request under way never is', async () => {
    const { mirror, upstream, connect } = await startMirror({ maxConnections: 3 });
    const opened = gate();
    upstream.on(PATH, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
    });
    const busy = await connect();
    busy.get(`/v2/${PATH}`);
    await eventually(() => mirror.blobs.running()[0]?.readers === 1);
    const [older, newer] = [await connect(), await connect()];
    older.get('/v2/');
    await older.answer();
    newer.get('/v2/');
    await newer.answer();
    // Used again, `older` is now the younger.
    older.get('/v2/');
    await older.answer();
    const fourth = await connect();
    await newer.ended();
    expect([busy.end, older.end, fourth.end]).toEqual(['open', 'open', 'open']);
    fourth.get(`/v2/${PATH}`);
    older.get(`/v2/${PATH}`);
    await eventually(() => mirror.blobs.running()[0]?.readers === 3);
    const refused = await connect();
    await refused.ended();
    opened.open();
    for (const connection of [busy, older, fourth]) expect((await connection.answer()).body.equals(BYTES)).toBe(true);
    const dropped = await mirror.metrics.registry.getSingleMetricAsString('windlass_mirror_connections_dropped_total');
    expect(dropped).toMatch(/ 2$/);
  });

  test('a drain lets answers under way end, and does not wait for connections that are only kept alive', async () => {
    const { mirror, upstream, connect } = await startMirror();
    const opened = gate();
    upstream.on(PATH, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
    });
    const [busy, idle] = [await connect(), await connect()];
    idle.get('/v2/');
    await idle.answer();
    busy.get(`/v2/${PATH}`);
    await eventually(() => mirror.blobs.running()[0]?.readers === 1);
    let drained = false;
    const draining = mirror.drain(new AbortController().signal).then(() => {
      drained = true;
    });
    await idle.ended();
    expect(drained).toBe(false);
    opened.open();
    expect((await busy.answer()).body.equals(BYTES)).toBe(true);
    await busy.ended();
    busy.socket.end();
    await draining;
  });
});
