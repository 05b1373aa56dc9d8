import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { buildImage } from '../../../src/demo/image.ts';
import { DemoRegistry } from '../../../src/demo/registry.ts';

const image = buildImage([1]);
const { index, manifest } = image;
const blob = image.blobs.at(-1) ?? index;

describe('the demo registry', () => {
  let registry: DemoRegistry;
  let url: string;

  beforeEach(async () => {
    registry = new DemoRegistry({ repositories: [{ image, repository: 'windlass/demo', tag: '1' }] });
    url = await registry.start();
  });

  afterEach(() => registry.stop());

  const ask = (path: string, options: RequestInit = {}) => fetch(`${url}/v2/${path}`, options);

  it('answers HEAD of the tag with digest, length and type, and no body', async () => {
    const response = await ask('windlass/demo/manifests/1', { method: 'HEAD' });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'docker-content-digest': index.digest,
      'content-length': String(index.bytes.length),
      'content-type': index.mediaType,
    });
    expect(registry.counts()).toMatchObject({ requests: { 'HEAD tag': 1 }, sentBytes: 0, mostGetsOfOne: 0 });
  });

  it('serves manifests and blobs, counts requests and bytes', async () => {
    const got = await ask(`windlass/demo/manifests/${manifest.digest}`);
    expect(got.headers.get('content-type')).toBe(manifest.mediaType);
    expect(Buffer.from(await got.arrayBuffer())).toEqual(manifest.bytes);
    for (const _ of [1, 2]) {
      const body = await ask(`windlass/demo/blobs/${blob.digest}`);
      expect(Buffer.from(await body.arrayBuffer()).equals(blob.bytes)).toBe(true);
    }
    expect(registry.counts()).toEqual({
      requests: { 'GET manifest': 1, 'GET blob': 2 },
      total: 3,
      sentBytes: manifest.bytes.length + 2 * blob.bytes.length,
      mostGetsOfOne: 2,
      resumed: 0,
    });
    expect(registry.sentBytes(blob.digest)).toBe(2 * blob.bytes.length);
  });

  it('tells agents from others, one repository from another, and what was resumed', async () => {
    const other = buildImage([1], 'other');
    const two = new DemoRegistry({
      repositories: [
        { image, repository: 'a/one', tag: '1' },
        { image: other, repository: 'b', tag: '2' },
      ],
    });
    const twoUrl = await two.start();
    const get = async (path: string, headers: Record<string, string>) =>
      (await fetch(`${twoUrl}/v2/${path}`, { headers })).arrayBuffer();
    const agent = { 'user-agent': 'windlass/1.2.3' };
    await get(`a/one/blobs/${blob.digest}`, agent);
    await get(`a/one/blobs/${blob.digest}`, { ...agent, range: 'bytes=100-' });
    await get(`a/one/blobs/${blob.digest}`, { range: 'bytes=0-9' });
    await get('b/manifests/2', {});
    await get(`b/blobs/${blob.digest}`, {});
    await two.stop();

    const size = blob.bytes.length;
    expect(two.counts('a/one', 'agents')).toEqual({
      requests: { 'GET blob': 2 },
      total: 2,
      sentBytes: 2 * size - 100,
      mostGetsOfOne: 2,
      resumed: 1,
    });
    expect(two.counts('a/one', 'others')).toMatchObject({ total: 1, sentBytes: 10, resumed: 0 });
    expect(two.counts('b')).toMatchObject({
      requests: { 'GET tag': 1, other: 1 },
      sentBytes: other.index.bytes.length,
    });
    expect(two.counts()).toMatchObject({ total: 5, mostGetsOfOne: 3, resumed: 1 });
    expect(two.gets(blob.digest, 'agents')).toBe(2);
    expect(two.sentBytes(blob.digest)).toBe(2 * size - 90);
    expect(other.index.digest).not.toBe(index.digest);
  });

  it('serves a part of a blob, but no part of a manifest', async () => {
    const part = await ask(`windlass/demo/blobs/${blob.digest}`, { headers: { range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(part.headers.get('content-range')).toBe(`bytes 10-19/${blob.bytes.length}`);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(blob.bytes.subarray(10, 20));
    const whole = await ask(`windlass/demo/manifests/${index.digest}`, { headers: { range: 'bytes=0-1' } });
    expect(whole.status).toBe(200);
    const beyond = await ask(`windlass/demo/blobs/${blob.digest}`, { headers: { range: 'bytes=99999999-' } });
    expect(beyond.status).toBe(416);
    expect(beyond.headers.get('content-range')).toBe(`bytes */${blob.bytes.length}`);
  });

  it.each([
    ['an unknown tag', 'windlass/demo/manifests/2', 'MANIFEST_UNKNOWN'],
    ['a blob asked for as a manifest', `windlass/demo/manifests/${blob.digest}`, 'MANIFEST_UNKNOWN'],
    ['a manifest asked for as a blob', `windlass/demo/blobs/${index.digest}`, 'BLOB_UNKNOWN'],
    ['another repository', `windlass/other/blobs/${blob.digest}`, 'BLOB_UNKNOWN'],
  ])('answers 404 to %s, and counts it as other', async (_, path, code) => {
    const response = await ask(path);
    expect([response.status, await response.json()]).toMatchObject([404, { errors: [{ code }] }]);
    expect(registry.counts().requests).toEqual({ other: 1 });
  });

  it('holds a blob back from an offset on, whoever asks for whatever part of it, until it is released', async () => {
    registry.hold(blob.digest, 300_000);
    const read = async (from: number) => {
      const headers = { range: `bytes=${from}-` };
      return Buffer.from(await (await ask(`windlass/demo/blobs/${blob.digest}`, { headers })).arrayBuffer());
    };
    const bodies = Promise.all([read(0), read(400_000)]);
    const chunk = 128 * 1024;
    await vi.waitFor(() => expect(registry.sentBytes(blob.digest)).toBe(Math.ceil(300_000 / chunk) * chunk), {
      timeout: 15_000,
    });
    registry.release();
    expect((await bodies).map((body) => body.length)).toEqual([blob.bytes.length, blob.bytes.length - 400_000]);
  });

  it('is read-only', async () => {
    expect((await ask('windlass/demo/manifests/1', { method: 'DELETE' })).status).toBe(405);
  });

  it('stops while a body is on its way, and forgets a client that left', async () => {
    const slow = new DemoRegistry({ repositories: [{ image, repository: 'r', tag: '1' }], bytesPerSecond: 64 * 1024 });
    const slowUrl = await slow.start();
    const leaving = new AbortController();
    const left = await fetch(`${slowUrl}/v2/r/blobs/${blob.digest}`, { signal: leaving.signal });
    leaving.abort();
    await expect(left.arrayBuffer()).rejects.toThrow();
    const cut = await fetch(`${slowUrl}/v2/r/blobs/${blob.digest}`);
    await slow.stop();
    await expect(cut.arrayBuffer()).rejects.toThrow();
    expect(slow.sentBytes(blob.digest)).toBeLessThan(blob.bytes.length);
  });
});
