import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { buildImage, digestOf, seededBytes } from '../support/image.ts';
import { pushBlob } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;

/** What is in the store under that digest, straight from the disk, once all ingests have ended. */
async function isKept(agent: AgentProcess, digest: Digest): Promise<boolean> {
  // A client has its last byte before the disk has: the commit follows.
  await eventually(async () => (await agent.metric('windlass_ingests_running')) === 0);
  const hex = digest.slice('sha256:'.length);
  const folder = join(agent.storePath, 'blobs', 'sha256', hex.slice(0, 2));
  const names: string[] = await readdir(folder).catch(() => []);
  return names.includes(hex);
}

async function unfinished(agent: AgentProcess): Promise<string[]> {
  const names = await readdir(join(agent.storePath, 'ingests'));
  return names.filter((name) => /[0-9a-f]{64}/.test(name));
}

describeWith('a connection to upstream that breaks', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let proxy: TcpProxy;
  let agent: AgentProcess;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    proxy = await TcpProxy.start(scratch, { port: registry.port });
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': proxy.url },
      settings: { upstream: { stallTimeout: '5s' } },
    });
  });
  afterAll(() => scratch?.dispose());

  for (const [share, kind] of [
    [0.1, 'fin'],
    [0.5, 'reset'],
    [0.9, 'fin'],
  ] as const) {
    it(`cut at ${share * 100}% (${kind}): the client gets the whole blob, upstream only what was missing`, async () => {
      const bytes = seededBytes(`cut ${share}`, 16 * MIB);
      const digest = digestOf(bytes);
      await pushBlob(registry.url, 'library/cut', { digest, bytes });
      await registry.forget();
      proxy.cutAfter(share * bytes.length, kind);

      const answer = await httpGet(`${agent.mirrorUrl}/v2/library/cut/blobs/${digest}`);

      expect(answer).toMatchObject({ status: 200, end: 'whole' });
      expect(answer.bytes.equals(bytes)).toBe(true);
      expect(await isKept(agent, digest)).toBe(true);
      const gets = (await registry.requests()).filter(({ method }) => method === 'GET');
      expect(gets.map(({ status }) => status).sort()).toEqual([200, 206]);
      const resumed = gets.find(({ status }) => status === 206);
      // A reset throws away what lay unread in the sockets' buffers.
      expect(resumed?.bytes).toBeLessThanOrEqual(bytes.length * (1 - share) + (kind === 'fin' ? 1 : 6) * MIB);
    });
  }

  it('stalled for longer than the bound: asked for again at the offset, the client sees one answer', async () => {
    const bytes = seededBytes('stall', 8 * MIB);
    const digest = digestOf(bytes);
    await pushBlob(registry.url, 'library/stall', { digest, bytes });
    proxy.stallAfter(3 * MIB);

    const pulling = httpGet(`${agent.mirrorUrl}/v2/library/stall/blobs/${digest}`);
    // The frozen connection never comes back; the next one finds a way.
    await eventually(async () => (await agent.metric('windlass_ingest_resumes_total', { reason: 'stall' })) > 0, {
      timeoutMs: 60_000,
    });
    proxy.resume();

    const answer = await pulling;
    expect(answer).toMatchObject({ status: 200, end: 'whole' });
    expect(answer.bytes.equals(bytes)).toBe(true);
    expect(await isKept(agent, digest)).toBe(true);
  });

  it('gone for good half way: the client gets what there is, then FIN; its next try 503; later the rest by Range', async () => {
    const bytes = seededBytes('gone', 8 * MIB);
    const digest = digestOf(bytes);
    await pushBlob(registry.url, 'library/gone', { digest, bytes });
    await registry.forget();
    const stallAt = proxy.downBytes + 5 * MIB;
    proxy.stallAfter(5 * MIB);
    const pulling = httpGet(`${agent.mirrorUrl}/v2/library/gone/blobs/${digest}`);
    await proxy.passed(stallAt);
    await proxy.refuse();
    proxy.cutAll('reset');
    proxy.resume();

    const first = await pulling;
    expect(first).toMatchObject({ status: 200, end: 'fin' });
    expect(first.bytes.equals(bytes.subarray(0, first.bytes.length))).toBe(true);
    const second = await httpGet(`${agent.mirrorUrl}/v2/library/gone/blobs/${digest}`, {
      headers: { range: `bytes=${first.bytes.length}-` },
    });
    expect(second.status).toBe(503);
    expect(await isKept(agent, digest)).toBe(false);

    await proxy.listen();
    const third = await httpGet(`${agent.mirrorUrl}/v2/library/gone/blobs/${digest}`, {
      headers: { range: `bytes=${first.bytes.length}-` },
    });
    expect(third).toMatchObject({ status: 206, end: 'whole' });
    expect(third.bytes.equals(bytes.subarray(first.bytes.length))).toBe(true);
    expect(await isKept(agent, digest)).toBe(true);
    const ranges = (await registry.requests()).filter(({ method, status }) => method === 'GET' && status === 206);
    expect(ranges.length).toBeGreaterThan(0);
  });

  it('packets swallowed: 503 for what is not known, nothing kept', async () => {
    const digest = digestOf(Buffer.from('swallowed'));
    proxy.swallow = true;
    proxy.cutAll();
    try {
      const answer = await httpGet(`${agent.mirrorUrl}/v2/library/swallowed/blobs/${digest}`);
      expect(answer.status).toBe(503);
    } finally {
      proxy.swallow = false;
      proxy.cutAll();
    }
    expect(await isKept(agent, digest)).toBe(false);
  });
});

describe('an upstream that answers nonsense', () => {
  let scratch: Scratch;
  let upstream: ScriptedUpstream;
  let agent: AgentProcess;
  const url = (path: string, query = '') => `${agent.mirrorUrl}/v2/library/x/${path}${query}`;

  beforeAll(async () => {
    scratch = await Scratch.create();
    upstream = await ScriptedUpstream.start();
    scratch.defer(() => upstream.stop());
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': `http://${upstream.address}`, 'gone.test': 'http://registry.invalid' },
      settings: { tags: { maxAge: '0s' } },
    });
  });
  afterAll(() => scratch?.dispose());

  it('wrong bytes: nobody gets the end of them, nothing is kept, and upstream is asked twice at most', async () => {
    const right = seededBytes('right', 2 * MIB);
    const digest = digestOf(right);
    const wrong = Buffer.from(right);
    wrong[MIB] = (wrong[MIB] ?? 0) ^ 1;
    upstream.serve(`library/x/blobs/${digest}`, wrong);

    const answers = await Promise.all(Array.from({ length: 8 }, () => httpGet(url(`blobs/${digest}`))));
    for (const answer of answers) {
      expect(answer.end).toBe('fin');
      expect(answer.bytes.length).toBeLessThanOrEqual(wrong.length - TAIL_BYTES);
    }
    await httpGet(url(`blobs/${digest}`));
    const third = await httpGet(url(`blobs/${digest}`));
    expect(third.status).toBe(503);
    expect(upstream.count('GET', `library/x/blobs/${digest}`)).toBe(2);
    expect(await isKept(agent, digest)).toBe(false);
    expect(await unfinished(agent)).toEqual([]);
    expect(await agent.metric('windlass_verification_failures_total', { source: 'upstream' })).toBe(2);
  });

  it('wrong length: a blob that is longer or shorter than its manifest says is not kept, nor given to its end', async () => {
    const image = buildImage({ seed: 'length', layerBytes: [300_000, 300_000] });
    upstream.serve(`library/x/manifests/${image.manifest.digest}`, image.manifest.bytes, {
      'content-type': image.manifest.mediaType,
    });
    expect((await httpGet(url(`manifests/${image.manifest.digest}`))).status).toBe(200);
    const [long, short] = image.layers;
    if (long === undefined || short === undefined) throw new Error('two layers were asked for');
    upstream.serve(`library/x/blobs/${long.digest}`, Buffer.concat([long.bytes, Buffer.from('more')]));
    upstream.serve(`library/x/blobs/${short.digest}`, short.bytes.subarray(0, -1));
    for (const layer of [long, short]) {
      const answer = await httpGet(url(`blobs/${layer.digest}`));
      // The manifest has promised the size, so headers went out before upstream was heard.
      expect(answer).toMatchObject({ status: 200, end: 'fin' });
      expect(answer.bytes.length).toBeLessThanOrEqual(layer.bytes.length - TAIL_BYTES);
      expect(await isKept(agent, layer.digest)).toBe(false);
    }
    expect(await unfinished(agent)).toEqual([]);
  });

  it('a chunked body that is truncated: asked for again, and whole', async () => {
    const bytes = seededBytes('chunked', MIB);
    const digest = digestOf(bytes);
    upstream.on(`library/x/blobs/${digest}`, (request, response) => {
      if (request.headers.range === undefined) {
        response.writeHead(200);
        response.write(bytes.subarray(0, 500_000), () => response.destroy());
        return;
      }
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range)?.[1]);
      response.writeHead(206, { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
      response.end(bytes.subarray(start));
    });
    const answer = await httpGet(url(`blobs/${digest}`));
    expect(answer).toMatchObject({ status: 200, end: 'whole' });
    expect(answer.bytes.equals(bytes)).toBe(true);
    expect(await isKept(agent, digest)).toBe(true);
  });

  it('429 with Retry-After: 503 to the client, and nobody asks before the time has passed', async () => {
    const digest = digestOf(Buffer.from('limited'));
    upstream.on(`library/x/blobs/${digest}`, (_request, response) => {
      response.writeHead(429, { 'retry-after': '3600' }).end('slow down');
    });
    for (let i = 0; i < 3; i += 1) expect((await httpGet(url(`blobs/${digest}`))).status).toBe(503);
    expect(upstream.count('GET', `library/x/blobs/${digest}`)).toBe(1);
    expect(await isKept(agent, digest)).toBe(false);
    expect(await agent.metric('windlass_upstream_pauses_total', { registry: 'docker.io' })).toBe(1);
    // The pause holds for this registry as a whole: the other tests need another agent.
    await agent.kill();
    await agent.start();
  });

  it('503: retried within bounds, then 503 to the client', async () => {
    const digest = digestOf(Buffer.from('unavailable'));
    upstream.on(`library/x/blobs/${digest}`, (_request, response) => {
      response.writeHead(503).end('<html>busy</html>');
    });
    expect((await httpGet(url(`blobs/${digest}`))).status).toBe(503);
    expect(upstream.count('GET', `library/x/blobs/${digest}`)).toBeLessThanOrEqual(3);
    expect(await isKept(agent, digest)).toBe(false);
  });

  it('HTML with 200, for a tag, a manifest and a blob: 503, nothing kept', async () => {
    const page = Buffer.from('<!doctype html><title>Welcome to the hotel</title>');
    const portal = { 'content-type': 'text/html; charset=utf-8' };
    const digest = digestOf(Buffer.from('portal'));
    for (const path of ['manifests/latest', `manifests/${digest}`, `blobs/${digest}`]) {
      upstream.serve(`library/x/${path}`, page, portal);
      const answer = await httpGet(url(path));
      expect([path, answer.status]).toEqual([path, 503]);
      expect(JSON.parse(answer.bytes.toString())).toHaveProperty('errors');
    }
    expect(await isKept(agent, digest)).toBe(false);
    expect(await isKept(agent, digestOf(page))).toBe(false);
  });

  it('a token that expires in the middle of a pull: a fresh one, and the rest by Range', async () => {
    const bytes = seededBytes('token', 2 * MIB);
    const digest = digestOf(bytes);
    let token = 'first';
    upstream.on('token', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token, expires_in: 3600 }));
    });
    upstream.on(`library/x/blobs/${digest}`, (request, response) => {
      if (request.headers.authorization !== `Bearer ${token}`) {
        const realm = `http://${upstream.address}/v2/token`;
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="test"` }).end();
        return;
      }
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(start === 0 ? 200 : 206, {
        'content-length': bytes.length - start,
        ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
      });
      if (start > 0) {
        response.end(bytes.subarray(start));
        return;
      }
      // Half of it, then the connection breaks and the token is worth nothing any more.
      response.write(bytes.subarray(0, MIB), () => {
        token = 'second';
        response.destroy();
      });
    });
    const answer = await httpGet(url(`blobs/${digest}`));
    expect(answer).toMatchObject({ status: 200, end: 'whole' });
    expect(answer.bytes.equals(bytes)).toBe(true);
    expect(upstream.count('GET', 'token')).toBe(2);
  });

  it('401 and 403: 404 to the client, which goes on with its own credentials; not remembered', async () => {
    const bytes = Buffer.from('private');
    const digest = digestOf(bytes);
    for (const status of [401, 403]) {
      upstream.on(`library/x/blobs/${digest}`, (_request, response) => {
        response.writeHead(status).end();
      });
      expect((await httpGet(url(`blobs/${digest}`))).status).toBe(404);
    }
    upstream.serve(`library/x/blobs/${digest}`, bytes);
    expect((await httpGet(url(`blobs/${digest}`))).bytes.equals(bytes)).toBe(true);
  });

  it('a body that is gzipped although it was asked not to be: the right bytes, or none', async () => {
    const bytes = Buffer.alloc(200_000, 'compressible ');
    const digest = digestOf(bytes);
    upstream.serve(`library/x/blobs/${digest}`, gzipSync(bytes), { 'content-encoding': 'gzip' });
    const answer = await httpGet(url(`blobs/${digest}`));
    expect(answer.headers['content-encoding']).toBeUndefined();
    expect(answer.bytes.equals(bytes)).toBe(true);
    expect(await isKept(agent, digest)).toBe(true);
  });

  it('a name that the DNS does not know: 503 for what is not held', async () => {
    const digest = digestOf(Buffer.from('no such name'));
    expect((await httpGet(url(`blobs/${digest}`, '?ns=gone.test'))).status).toBe(503);
    expect((await httpGet(url('manifests/latest', '?ns=gone.test'))).status).toBe(503);
  });

  it('upstream gone: a tag is answered as last known, with a metric and a log line; what is held is served', async () => {
    const image = buildImage({ seed: 'stale', layerBytes: [10_000] });
    const { manifest } = image;
    const headers = { 'content-type': manifest.mediaType, 'docker-content-digest': manifest.digest };
    upstream.serve('library/x/manifests/stable', manifest.bytes, headers);
    upstream.serve(`library/x/manifests/${manifest.digest}`, manifest.bytes, headers);
    for (const blob of image.blobs) {
      upstream.serve(`library/x/blobs/${blob.digest}`, blob.bytes);
      expect((await httpGet(url(`blobs/${blob.digest}`))).status).toBe(200);
    }
    expect((await httpGet(url('manifests/stable'))).bytes.equals(manifest.bytes)).toBe(true);
    await upstream.stop();

    const head = await httpGet(url('manifests/stable'), { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(head.headers).toMatchObject({
      'docker-content-digest': manifest.digest,
      'content-type': MEDIA_TYPES.ociManifest,
      'content-length': String(manifest.bytes.length),
    });
    for (const blob of image.blobs) {
      expect((await httpGet(url(`blobs/${blob.digest}`))).bytes.equals(blob.bytes)).toBe(true);
    }
    expect(await agent.metric('windlass_tag_stale_served_total', { registry: 'docker.io' })).toBeGreaterThan(0);
    expect(agent.logs().some(({ msg }) => /as last known/.test(String(msg)))).toBe(true);
  });
});
