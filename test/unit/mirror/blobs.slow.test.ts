import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import type { LocalMirror } from '../../support/local-mirror.ts';
import { bytesOf, digestOf } from '../pull/scripted-source.ts';
import { gate, startMirror } from './mirror-fixture.ts';

const MIB = 1024 * 1024;
const TAIL = 64 * 1024;
const BYTES = bytesOf(MIB + 77);
const DIGEST = digestOf(BYTES);
const NAME = 'library/redis';
const PATH = `${NAME}/blobs/${DIGEST}`;
const MANIFEST = Buffer.from(
  JSON.stringify({ schemaVersion: 2, config: {}, layers: [{ digest: DIGEST, size: BYTES.length }] }),
);
const MANIFEST_PATH = `${NAME}/manifests/${digestOf(MANIFEST)}`;
const SIZE = BYTES.length;

describe('what HEAD and GET say', () => {
  test('Content-Length, Docker-Content-Digest and Content-Type, the same for both, before and after it is held', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(PATH, BYTES);
    const wanted = {
      'content-length': `${SIZE}`,
      'docker-content-digest': DIGEST,
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      'docker-distribution-api-version': 'registry/2.0',
    };
    expect(await httpGet(mirror.url(PATH), { method: 'HEAD' })).toMatchObject({ status: 200, headers: wanted });
    const first = await httpGet(mirror.url(PATH));
    expect(first).toMatchObject({ status: 200, headers: wanted, end: 'whole' });
    expect(first.bytes.equals(BYTES)).toBe(true);
    await held(mirror);
    expect(await httpGet(mirror.url(PATH), { method: 'HEAD' })).toMatchObject({ status: 200, headers: wanted });
    expect((await httpGet(mirror.url(PATH))).bytes.equals(BYTES)).toBe(true);
    expect([upstream.count('HEAD', PATH), upstream.count('GET', PATH)]).toEqual([1, 1]);
    expect(first.headers['content-encoding']).toBeUndefined();
  });

  test('the same blob by another registry, by ns and by path, is not fetched again', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(PATH, BYTES);
    await httpGet(mirror.url(PATH));
    await held(mirror);
    for (const path of [
      `other/blobs/${DIGEST}?ns=ghcr.io`,
      `ghcr.io/other/blobs/${DIGEST}`,
      `docker.io/redis/blobs/${DIGEST}`,
    ]) {
      expect((await httpGet(mirror.url(path))).bytes.equals(BYTES)).toBe(true);
    }
    expect(upstream.requests.filter(({ method }) => method === 'GET')).toHaveLength(1);
  });

  test('an unknown size: chunked 200; a Range with it is answered with the whole', async () => {
    for (const headers of [{}, { range: 'bytes=100-199' }, { range: 'bytes=5-' }] as Record<string, string>[]) {
      const { mirror, upstream } = await startMirror();
      upstream.on(PATH, (_, response) => void response.writeHead(200).end(BYTES));
      const answer = await httpGet(mirror.url(PATH), { headers });
      expect(answer.status).toBe(200);
      expect(answer.headers['content-length']).toBeUndefined();
      expect(answer.headers['transfer-encoding']).toBe('chunked');
      expect(answer.bytes.equals(BYTES)).toBe(true);
      expect(upstream.requests).toHaveLength(1);
    }
  });

  test('If-None-Match: 304 without bytes', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(PATH, BYTES);
    for (const tag of [`"${DIGEST}"`, `W/"${DIGEST}"`, `"other", "${DIGEST}"`, '*']) {
      const answer = await httpGet(mirror.url(PATH), { headers: { 'if-none-match': tag } });
      expect([answer.status, answer.bytes.length]).toEqual([304, 0]);
    }
    expect(upstream.count('GET', PATH)).toBe(0);
    const other = await httpGet(mirror.url(PATH), { headers: { 'if-none-match': '"other"' } });
    expect(other.status).toBe(200);
  });
});

describe('ranges', () => {
  const cases: [string, number, number?, number?][] = [
    ['bytes=500-1499', 206, 500, 1499],
    ['bytes=500-', 206, 500, SIZE - 1],
    ['bytes=0-', 206, 0, SIZE - 1],
    ['bytes=0-0', 206, 0, 0],
    ['bytes=-500', 206, SIZE - 500, SIZE - 1],
    [`bytes=-${SIZE + 5}`, 206, 0, SIZE - 1],
    [`bytes=1000000-${SIZE + 1000}`, 206, 1_000_000, SIZE - 1],
    [`bytes=${SIZE - 1}-`, 206, SIZE - 1, SIZE - 1],
    [`bytes=${SIZE}-`, 416],
    ['bytes=99999999-99999999999', 416],
    ['bytes=500-0', 416],
    ['bytes=-0', 416],
    ['bytes=0-9,20-29', 200],
    ['bytes=a-b', 200],
    ['items=0-5', 200],
  ];

  test.each(['held', 'arriving', 'never asked for'])('of a blob that is %s', async (state) => {
    const { mirror, upstream } = await startMirror();
    const opened = gate();
    upstream.serve(PATH, BYTES);
    upstream.serve(MANIFEST_PATH, MANIFEST);
    if (state === 'held') {
      await httpGet(mirror.url(PATH));
      await held(mirror);
    } else {
      await httpGet(mirror.url(MANIFEST_PATH));
    }
    if (state === 'arriving') {
      upstream.on(PATH, async (_, response) => {
        response.writeHead(200, { 'content-length': SIZE }).write(BYTES.subarray(0, 300_000));
        await opened.passed;
        response.end(BYTES.subarray(300_000));
      });
      void httpGet(mirror.url(PATH));
      await eventually(() => mirror.blobs.running()[0]?.written === 300_000);
    }
    const answers = cases.map(([range]) => httpGet(mirror.url(PATH), { headers: { range } }));
    opened.open();
    for (const [i, [range, status, start, end]] of cases.entries()) {
      const answer = await answers[i];
      const { headers, bytes } = answer ?? { headers: {}, bytes: Buffer.alloc(0) };
      expect([range, answer?.status]).toEqual([range, status]);
      if (status === 416) expect(headers['content-range']).toBe(`bytes */${SIZE}`);
      if (status === 200) expect(bytes.equals(BYTES)).toBe(true);
      if (start === undefined || end === undefined) continue;
      expect(headers['content-range']).toBe(`bytes ${start}-${end}/${SIZE}`);
      expect(headers['content-length']).toBe(`${end - start + 1}`);
      expect(bytes.equals(BYTES.subarray(start, end + 1))).toBe(true);
    }
    expect(upstream.count('GET', PATH)).toBe(1);
  });

  test('If-Range: the part if it is this blob, else the whole', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(PATH, BYTES);
    const get = (ifRange: string) =>
      httpGet(mirror.url(PATH), { headers: { range: 'bytes=0-9', 'if-range': ifRange } });
    expect((await get(`"${DIGEST}"`)).status).toBe(206);
    expect((await get('"other"')).status).toBe(200);
  });
});

describe('headers', () => {
  test('leave at once where a manifest named the size, though upstream has not answered', async () => {
    const { mirror, upstream, connect } = await startMirror();
    const opened = gate();
    upstream.serve(MANIFEST_PATH, MANIFEST);
    upstream.on(PATH, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-length': SIZE }).end(BYTES);
    });
    await httpGet(mirror.url(MANIFEST_PATH));
    const whole = await connect();
    whole.get(`/v2/${PATH}`);
    expect(await whole.head()).toMatchObject({ status: 200, headers: { 'content-length': `${SIZE}` } });
    const part = await connect();
    part.get(`/v2/${PATH}`, { range: 'bytes=1000-' });
    expect(await part.head()).toMatchObject({ status: 206, headers: { 'content-length': `${SIZE - 1000}` } });
    expect(await httpGet(mirror.url(PATH), { method: 'HEAD' })).toMatchObject({
      status: 200,
      headers: { 'content-length': `${SIZE}` },
    });
    opened.open();
    expect((await whole.take(SIZE)).equals(BYTES)).toBe(true);
    expect((await part.take(SIZE - 1000)).equals(BYTES.subarray(1000))).toBe(true);
    expect([upstream.count('HEAD', PATH), upstream.count('GET', PATH)]).toEqual([0, 1]);
  });

  test('else wait for upstream; after the bound 503, while the fetch goes on and serves the next', async () => {
    const { mirror, upstream } = await startMirror({ headersTimeoutMs: 60 });
    const opened = gate();
    upstream.on(PATH, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-length': SIZE }).end(BYTES);
    });
    const refused = await httpGet(mirror.url(PATH));
    expect(refused.status).toBe(503);
    expect(JSON.parse(refused.bytes.toString())).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] });
    expect(mirror.blobs.running()).toMatchObject([{ readers: 0 }]);
    opened.open();
    await held(mirror);
    expect((await httpGet(mirror.url(PATH))).bytes.equals(BYTES)).toBe(true);
    expect(upstream.count('GET', PATH)).toBe(1);
  });

  test.each([
    [404, 404, 'BLOB_UNKNOWN'],
    [401, 404, 'BLOB_UNKNOWN'],
    [403, 404, 'BLOB_UNKNOWN'],
    [429, 503, 'UNAVAILABLE'],
    [500, 503, 'UNAVAILABLE'],
    [503, 503, 'UNAVAILABLE'],
  ])('upstream says %i: the client %i, GET and HEAD', async (status, wanted, code) => {
    const { mirror, upstream } = await startMirror({ headersTimeoutMs: 2_000 });
    upstream.on(PATH, (_, response) => void response.writeHead(status, { 'retry-after': '60' }).end());
    const answer = await httpGet(mirror.url(PATH));
    expect([answer.status, answer.headers['content-type']]).toEqual([wanted, 'application/json']);
    expect(JSON.parse(answer.bytes.toString())).toMatchObject({ errors: [{ code, message: expect.any(String) }] });
    const head = await httpGet(mirror.url(PATH), { method: 'HEAD' });
    expect([head.status, head.bytes.length]).toEqual([wanted, 0]);
    expect(mirror.blobs.running()).toEqual([]);
  });
});

describe('a body that cannot be finished', () => {
  test('all that was written arrives, then FIN; who comes back is refused, and is not given headers again', async () => {
    const { mirror, upstream, connect } = await startMirror();
    upstream.serve(MANIFEST_PATH, MANIFEST);
    await httpGet(mirror.url(MANIFEST_PATH));
    upstream.on(PATH, (_, response) => {
      if (upstream.count('GET', PATH) > 1) response.writeHead(404).end();
      else
        response.writeHead(200, { 'content-length': SIZE }).write(BYTES.subarray(0, 900_000), () => response.destroy());
    });
    const connection = await connect();
    connection.get(`/v2/${PATH}`);
    expect((await connection.head()).headers['content-length']).toBe(`${SIZE}`);
    expect(await connection.ended()).toBe('fin');
    // The source was cut, so how much came is its affair; but all of it is right, and never the end.
    const { received } = connection;
    expect(received.equals(BYTES.subarray(0, received.length))).toBe(true);
    expect(received.length).toBeLessThanOrEqual(SIZE - TAIL);
    const again = await httpGet(mirror.url(PATH), { headers: { range: `bytes=${received.length}-` } });
    expect(again.status).toBe(404);
    expect((await httpGet(mirror.url(PATH))).status).toBe(404);
    const metrics = await mirror.metrics.registry.getSingleMetricAsString('windlass_mirror_broken_responses_total');
    expect(metrics).toContain('{code="NOT_FOUND"} 1');
  });

  test('bytes behind a slow reader leave before the FIN', async () => {
    const { upstream, connect, mirror } = await startMirror();
    const opened = gate();
    upstream.serve(MANIFEST_PATH, MANIFEST);
    await httpGet(mirror.url(MANIFEST_PATH));
    upstream.on(PATH, async (_, response) => {
      if (upstream.count('GET', PATH) > 1) {
        await opened.passed;
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { 'content-length': SIZE }).write(BYTES.subarray(0, 900_000));
      await eventually(() => mirror.blobs.running()[0]?.written === 900_000);
      response.destroy();
    });
    const connection = await connect();
    connection.socket.pause();
    connection.get(`/v2/${PATH}`);
    await eventually(() => upstream.count('GET', PATH) === 2);
    opened.open();
    await eventually(() => mirror.blobs.running().length === 0);
    connection.socket.resume();
    expect(await connection.ended()).toBe('fin');
    await connection.head();
    expect(connection.received.equals(BYTES.subarray(0, 900_000))).toBe(true);
  });

  test('wrong bytes: FIN without the end, twice; then 503 without asking', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(MANIFEST_PATH, MANIFEST);
    const wrong = Buffer.from(BYTES);
    wrong[7] = (wrong[7] ?? 0) ^ 1;
    upstream.serve(PATH, wrong);
    await httpGet(mirror.url(MANIFEST_PATH));
    for (let i = 1; i <= 2; i++) {
      const answer = await httpGet(mirror.url(PATH));
      expect([answer.status, answer.end]).toEqual([200, 'fin']);
      expect(answer.bytes.length).toBeLessThanOrEqual(SIZE - TAIL);
      await eventually(() => mirror.blobs.running().length === 0);
      expect(upstream.count('GET', PATH)).toBe(i);
    }
    expect((await httpGet(mirror.url(PATH))).status).toBe(503);
    expect((await httpGet(mirror.url(PATH), { method: 'HEAD' })).status).toBe(503);
    expect(upstream.requests.filter(({ path }) => path.endsWith(PATH))).toHaveLength(2);
    expect(mirror.store.stat(DIGEST)).toBeUndefined();
  });

  test('of unknown size: FIN, and no last chunk', async () => {
    const { upstream, connect } = await startMirror();
    upstream.on(PATH, (_, response) => {
      if (upstream.count('GET', PATH) > 1) response.writeHead(404).end();
      else response.writeHead(200).write(BYTES.subarray(0, 500_000), () => response.destroy());
    });
    const connection = await connect();
    connection.get(`/v2/${PATH}`);
    expect((await connection.head()).headers['transfer-encoding']).toBe('chunked');
    expect(await connection.ended()).toBe('fin');
    expect(connection.received.subarray(-5).toString()).not.toBe('0\r\n\r\n');
  });
});

describe('clients', () => {
  test('one that leaves in mid-body frees its reader; the fetch goes on', async () => {
    const { mirror, upstream, connect } = await startMirror();
    const opened = gate();
    upstream.on(PATH, async (_, response) => {
      response.writeHead(200, { 'content-length': SIZE }).write(BYTES.subarray(0, 500_000));
      await opened.passed;
      response.end(BYTES.subarray(500_000));
    });
    const [staying, leaving] = [await connect(), await connect()];
    staying.get(`/v2/${PATH}`);
    leaving.get(`/v2/${PATH}`);
    await eventually(() => mirror.blobs.running()[0]?.readers === 2);
    leaving.close();
    await eventually(() => mirror.blobs.running()[0]?.readers === 1);
    opened.open();
    expect((await staying.answer()).body.equals(BYTES)).toBe(true);
    expect(upstream.count('GET', PATH)).toBe(1);
  });

  test('one that stops reading is let go after its bound', async () => {
    const big = bytesOf(32 * MIB);
    const path = `${NAME}/blobs/${digestOf(big)}`;
    const { mirror, upstream, connect } = await startMirror({ writeTimeoutMs: 1_000 });
    upstream.serve(path, big);
    const connection = await connect();
    connection.socket.pause();
    connection.get(`/v2/${path}`);
    await eventually(() => mirror.store.stat(digestOf(big)) !== undefined);
    await eventually(async () =>
      (await mirror.metrics.registry.getSingleMetricAsString('windlass_mirror_connections')).endsWith(' 0'),
    );
    expect((await httpGet(mirror.url(path))).bytes.equals(big)).toBe(true);
  });

  test('pipelined requests are answered in their order, each with its own bytes', async () => {
    const { upstream, connect } = await startMirror();
    upstream.serve(PATH, BYTES);
    const connection = await connect();
    const line = (extra: string) => `GET /v2/${PATH} HTTP/1.1\r\nhost: m\r\n${extra}\r\n`;
    connection.send(
      line('range: bytes=0-9\r\n') + line('') + line('range: bytes=-4\r\n') + line('range: bytes=1-2,4-5\r\n'),
    );
    const bodies = [];
    for (let i = 0; i < 4; i++) bodies.push((await connection.answer()).body);
    expect(bodies[0]?.equals(BYTES.subarray(0, 10))).toBe(true);
    expect(bodies[1]?.equals(BYTES)).toBe(true);
    expect(bodies[2]?.equals(BYTES.subarray(-4))).toBe(true);
    expect(bodies[3]?.equals(BYTES)).toBe(true);
    expect(upstream.count('GET', PATH)).toBe(1);
  });

  test('pipelined requests wait their turn without a reader of their own, and go with their client', async () => {
    const { mirror, upstream, connect } = await startMirror();
    const opened = gate();
    upstream.on(PATH, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-length': SIZE }).end(BYTES);
    });
    const connection = await connect();
    for (let i = 0; i < 20; i++) connection.get(`/v2/${PATH}`);
    const other = await connect();
    other.get(`/v2/${PATH}`);
    await eventually(() => mirror.blobs.running()[0]?.readers === 2);
    connection.close();
    await eventually(() => mirror.blobs.running()[0]?.readers === 1);
    opened.open();
    expect((await other.answer()).body.equals(BYTES)).toBe(true);
  });

  test('a connection with more requests than any client sends at once is closed', async () => {
    const { upstream, connect } = await startMirror();
    const opened = gate();
    upstream.on(PATH, () => opened.passed);
    const connection = await connect();
    connection.send(`GET /v2/${PATH} HTTP/1.1\r\nhost: m\r\n\r\n`.repeat(200));
    await connection.ended();
  });

  test('a connection is used again after each kind of answer', async () => {
    const { upstream, connect } = await startMirror();
    upstream.serve(PATH, BYTES);
    upstream.serve(MANIFEST_PATH, MANIFEST);
    const connection = await connect();
    const get = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
      connection.get(path, headers, method);
      return (await connection.answer(method === 'HEAD')).status;
    };
    expect(await get('/v2/')).toBe(200);
    expect(await get(`/v2/${PATH}`, {}, 'HEAD')).toBe(200);
    expect(await get(`/v2/${PATH}`)).toBe(200);
    expect(await get(`/v2/${PATH}`, { range: 'bytes=5-6' })).toBe(206);
    expect(await get(`/v2/${PATH}`, { range: `bytes=${SIZE}-` })).toBe(416);
    expect(await get(`/v2/${PATH}`, { 'if-none-match': '*' })).toBe(304);
    expect(await get(`/v2/${MANIFEST_PATH}`)).toBe(200);
    expect(await get(`/v2/${MANIFEST_PATH}`, {}, 'HEAD')).toBe(200);
    expect(await get(`/v2/${NAME}/blobs/sha256:${'0'.repeat(64)}`)).toBe(404);
    expect(await get(`/v2/${NAME}/blobs/sha256:0`)).toBe(400);
    expect(await get(`/v2/${PATH}?ns=evil.example`)).toBe(403);
    expect(await get('/v2/a/../b/blobs/x')).toBe(400);
    expect(await get(`/v2/${NAME}/blobs/sha256:${'0'.repeat(64)}`, {}, 'HEAD')).toBe(404);
    expect(await get(`/v2/${PATH}`, { range: 'bytes=-1' })).toBe(206);
    expect(connection.end).toBe('open');
    expect(connection.received.length).toBe(0);
  });

  test('only what was asked for counts as served', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(PATH, BYTES);
    await httpGet(mirror.url(PATH));
    await httpGet(mirror.url(`${NAME}/blobs/sha256:${'0'.repeat(64)}`));
    await httpGet(mirror.url('a/manifests/1?ns=evil.example'));
    const { values } = await (
      mirror.metrics.mirrorBytes as unknown as { get(): Promise<{ values: { value: number }[] }> }
    ).get();
    expect(values.reduce((sum, { value }) => sum + value, 0)).toBe(SIZE);
  });
});

async function held(mirror: LocalMirror): Promise<void> {
  await eventually(() => mirror.store.stat(DIGEST) !== undefined && mirror.blobs.running().length === 0);
}
