import { describe, expect, test } from 'vitest';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { httpGet } from '../../support/http-get.ts';
import type { ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { digestOf } from '../pull/scripted-source.ts';
import { gate, startMirror } from './mirror-fixture.ts';

const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
const DIGEST = digestOf(MANIFEST);
const NAME = 'library/redis';
const TAG = `${NAME}/manifests/7`;
const BY_DIGEST = `${NAME}/manifests/${DIGEST}`;

/** A tag and its manifest, as a registry has them. */
function serveImage(upstream: ScriptedUpstream, headers: Record<string, string> = {}): void {
  const all = { 'content-type': MEDIA_TYPES.ociManifest, 'docker-content-digest': DIGEST, ...headers };
  upstream.serve(TAG, MANIFEST, all);
  upstream.serve(BY_DIGEST, MANIFEST, all);
}

const WANTED = {
  'content-length': `${MANIFEST.length}`,
  'content-type': MEDIA_TYPES.ociManifest,
  'docker-content-digest': DIGEST,
  'docker-distribution-api-version': 'registry/2.0',
};

describe('manifests', () => {
  test('containerd, by tag: HEAD, then GET by digest: one HEAD and one GET upstream, whoever comes after', async () => {
    const { mirror, upstream } = await startMirror();
    serveImage(upstream);
    for (let i = 0; i < 3; i++) {
      const head = await httpGet(mirror.url(TAG), { method: 'HEAD' });
      expect(head).toMatchObject({ status: 200, headers: WANTED });
      expect(head.bytes.length).toBe(0);
      const get = await httpGet(mirror.url(BY_DIGEST));
      expect(get).toMatchObject({ status: 200, headers: WANTED });
      expect(get.bytes.equals(MANIFEST)).toBe(true);
    }
    expect(upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `HEAD /v2/${TAG}`,
      `GET /v2/${BY_DIGEST}`,
    ]);
  });

  test('by digest: HEAD, then GET, one GET upstream', async () => {
    const { mirror, upstream } = await startMirror();
    serveImage(upstream);
    expect(await httpGet(mirror.url(BY_DIGEST), { method: 'HEAD' })).toMatchObject({ status: 200, headers: WANTED });
    expect((await httpGet(mirror.url(BY_DIGEST))).bytes.equals(MANIFEST)).toBe(true);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
  });

  test('a pull by tag and one by digest at once: one GET upstream', async () => {
    const { mirror, upstream } = await startMirror();
    const opened = gate();
    serveImage(upstream);
    upstream.on(BY_DIGEST, async (_, response) => {
      await opened.passed;
      response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(MANIFEST);
    });
    const pulls = [TAG, BY_DIGEST, TAG, BY_DIGEST].map((path) => httpGet(mirror.url(path)));
    setTimeout(opened.open, 50);
    for (const { bytes } of await Promise.all(pulls)) expect(bytes.equals(MANIFEST)).toBe(true);
    expect([upstream.count('HEAD', TAG), upstream.count('GET', TAG), upstream.count('GET', BY_DIGEST)]).toEqual([
      1, 0, 1,
    ]);
  });

  test('an upstream that names no digest is asked for the tag once; the GET by digest that follows asks nobody', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(TAG, MANIFEST, { 'content-type': 'text/plain' });
    expect(await httpGet(mirror.url(TAG), { method: 'HEAD' })).toMatchObject({ status: 200, headers: WANTED });
    expect((await httpGet(mirror.url(BY_DIGEST))).bytes.equals(MANIFEST)).toBe(true);
    expect(upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `HEAD /v2/${TAG}`,
      `GET /v2/${TAG}`,
    ]);
  });

  test('HEAD answered with 405', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.on(TAG, (request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else response.writeHead(200).end(MANIFEST);
    });
    expect(await httpGet(mirror.url(TAG), { method: 'HEAD' })).toMatchObject({ status: 200, headers: WANTED });
  });

  test.each(['text/plain; charset=utf-8', 'application/octet-stream'])(
    '%s is not passed on as a type',
    async (type) => {
      const { mirror, upstream } = await startMirror();
      serveImage(upstream, { 'content-type': type });
      for (const method of ['HEAD', 'GET']) {
        expect(await httpGet(mirror.url(TAG), { method })).toMatchObject({ status: 200, headers: WANTED });
      }
    },
  );

  test('a Range is ignored: the whole, with 200', async () => {
    const { mirror, upstream } = await startMirror();
    serveImage(upstream);
    for (const path of [TAG, BY_DIGEST]) {
      const answer = await httpGet(mirror.url(path), { headers: { range: 'bytes=0-' } });
      expect([answer.status, answer.headers['content-range']]).toEqual([200, undefined]);
      expect(answer.bytes.equals(MANIFEST)).toBe(true);
    }
    expect(upstream.requests.every(({ range }) => range === undefined)).toBe(true);
  });

  test('If-None-Match: 304, by tag and by digest', async () => {
    const { mirror, upstream } = await startMirror();
    serveImage(upstream);
    const headers = { 'if-none-match': `"${DIGEST}"` };
    for (const path of [TAG, BY_DIGEST]) {
      for (const method of ['GET', 'HEAD']) {
        expect((await httpGet(mirror.url(path), { method, headers })).status).toBe(304);
      }
    }
  });

  test.each([
    [404, 404],
    [401, 404],
    [403, 404],
    [429, 503],
    [502, 503],
  ])('upstream says %i: the client %i', async (status, wanted) => {
    const { mirror, upstream } = await startMirror();
    for (const path of [TAG, BY_DIGEST]) upstream.on(path, (_, response) => void response.writeHead(status).end());
    for (const path of [TAG, BY_DIGEST]) {
      const answer = await httpGet(mirror.url(path));
      expect(answer.status).toBe(wanted);
      const code = wanted === 404 ? 'MANIFEST_UNKNOWN' : 'UNAVAILABLE';
      expect(JSON.parse(answer.bytes.toString())).toMatchObject({ errors: [{ code }] });
    }
  });

  test('HTML with 200 is a 503, and nothing of it is kept', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(TAG, Buffer.from('<html>sign in</html>'), { 'content-type': 'text/html' });
    upstream.serve(BY_DIGEST, Buffer.from('<html>sign in</html>'));
    expect((await httpGet(mirror.url(TAG))).status).toBe(503);
    expect((await httpGet(mirror.url(BY_DIGEST))).status).toBe(503);
    expect([...mirror.store.list()]).toEqual([]);
  });

  test('no answer within the bound: 503; the fetch goes on, and serves the next', async () => {
    const { mirror, upstream } = await startMirror({ headersTimeoutMs: 60 });
    const opened = gate();
    upstream.on(BY_DIGEST, async (_, response) => {
      await opened.passed;
      response.writeHead(200).end(MANIFEST);
    });
    expect((await httpGet(mirror.url(BY_DIGEST))).status).toBe(503);
    opened.open();
    await expect.poll(async () => (await httpGet(mirror.url(BY_DIGEST))).status).toBe(200);
    expect(upstream.count('GET', BY_DIGEST)).toBe(1);
  });
});

describe('relayed', () => {
  const LIST = Buffer.from('{"name":"redis","tags":["7"]}');

  test.each([
    ['by ns', 'redis/tags/list?ns=ghcr.io&n=1', 'redis/tags/list', '/v2/redis/tags/list?n=1&last=7&ns=ghcr.io'],
    ['by path', 'ghcr.io/redis/tags/list?n=1', 'redis/tags/list', '/v2/ghcr.io/redis/tags/list?n=1&last=7'],
    ['by default', 'redis/tags/list?n=1', 'library/redis/tags/list', '/v2/redis/tags/list?n=1&last=7'],
  ])("%s: the next page's address is the client's own", async (_, path, asked, next) => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(asked, LIST, {
      'content-type': 'application/json',
      link: `<http://elsewhere.example/v2/${asked}?n=1&last=7>; rel="next"`,
    });
    const answer = await httpGet(mirror.url(path));
    expect([answer.status, answer.headers['content-type'], answer.headers.link]).toEqual([
      200,
      'application/json',
      `<${next}>; rel="next"`,
    ]);
    expect(answer.bytes.equals(LIST)).toBe(true);
    const head = await httpGet(mirror.url(path), { method: 'HEAD' });
    expect([head.status, head.headers['content-length'], head.bytes.length]).toEqual([200, `${LIST.length}`, 0]);
  });

  test.each([
    [404, 404],
    [401, 404],
    [429, 503],
    [500, 503],
  ])('upstream says %i: the client %i', async (status, wanted) => {
    const { mirror, upstream } = await startMirror();
    const path = `library/redis/referrers/${DIGEST}`;
    upstream.on(path, (_, response) => void response.writeHead(status).end('{}'));
    expect((await httpGet(mirror.url(path))).status).toBe(wanted);
  });

  test('an empty index of referrers, with what upstream filtered by', async () => {
    const { mirror, upstream } = await startMirror();
    upstream.serve(`library/redis/referrers/${DIGEST}`, Buffer.from('{"manifests":[]}'), {
      'content-type': MEDIA_TYPES.ociIndex,
      'oci-filters-applied': 'artifactType',
    });
    const answer = await httpGet(mirror.url(`redis/referrers/${DIGEST}?artifactType=a/b&ns=docker.io`));
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': MEDIA_TYPES.ociIndex, 'oci-filters-applied': 'artifactType' },
    });
  });
});
