import { afterEach, describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { Tags } from '../../../src/pull/tags.ts';
import { MemoryTagStore } from '../../../src/store/memory-tag-store.ts';
import type { ManifestBody, ManifestHead } from '../../../src/upstream/registry-client.ts';
import { eventually } from '../../support/eventually.ts';
import { failOnUnhandledRejections, failureOf, forever, logger, ORIGIN, settle } from './pull-fixture.ts';
import { bytesOf, digestOf } from './scripted-source.ts';
import { PullCluster, type SwarmNode } from './swarm-fixture.ts';

const SMALL = json('small');
const LARGE = json(bytesOf(100_000).toString('hex'));
const MAX_AGE_MS = 30_000;

failOnUnhandledRejections();
afterEach(() => void vi.useRealTimers());

async function start(nodes: number, manifest: Buffer = SMALL) {
  const upstream = {
    gets: [] as string[],
    heads: 0,
    get: async (): Promise<ManifestBody> => ({ ...headOf(manifest), bytes: manifest }),
    head: async (): Promise<ManifestHead> => headOf(manifest),
  };
  const cluster = await PullCluster.start({
    nodes,
    client: {
      getManifest: async (_, reference) => {
        upstream.gets.push(reference);
        return upstream.get();
      },
      headManifest: async () => {
        upstream.heads += 1;
        return upstream.head();
      },
    },
  });
  const tagsOf = (node: SwarmNode) =>
    new Tags({
      tags: new MemoryTagStore(),
      manifests: node.manifests,
      registries: node.registries,
      swarm: node.swarm,
      maxAgeMs: MAX_AGE_MS,
      staleWhenDown: true,
      logger,
      metrics: node.metrics,
    });
  return { cluster, upstream, tagsOf };
}

describe('manifests', () => {
  test.each([
    ['a layer', 1_000],
    ['one too large to be a manifest', MAX_MANIFEST_BYTES + 1],
  ])('%s that is held, and asked for as a manifest, is no matter of the swarm', async (_, sizeBytes) => {
    const { cluster, upstream } = await start(2);
    const layer = bytesOf(sizeBytes);
    const digest = digestOf(layer);
    const node = cluster.node(0);
    const writer = await node.store.create(digest, { sizeBytes: layer.length });
    await writer.write([layer]);
    await writer.verify();
    await writer.commit();
    await writer.close();
    upstream.get = async () => {
      throw new WindlassError('NOT_FOUND', 'no such manifest');
    };
    expect(await failureOf(node.manifests.get(ORIGIN, digest, forever))).toMatchObject({ code: 'NOT_FOUND' });
    // Its keeper would take the claim as word that the node has lost it.
    expect(cluster.keeper.claims).toEqual([]);
  });

  test('that there is none by a digest says nothing of a blob, and nothing of a manifest that there is no blob', async () => {
    const { cluster, upstream } = await start(3);
    const layer = bytesOf(1_000);
    const digest = digestOf(layer);
    upstream.get = async () => {
      throw new WindlassError('NOT_FOUND', 'no such manifest');
    };
    expect(await failureOf(cluster.node(0).manifests.get(ORIGIN, digest, forever))).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(cluster.keeper.refused.size).toBe(1);
    await failureOf(cluster.node(1).pull(digest));
    // It was given the right, and asked.
    expect(cluster.keeper.claims.map(({ answer }) => answer)).toEqual(['write', 'write']);
  });

  test.each([
    ['small', SMALL],
    ['large', LARGE],
  ])('a %s one is fetched once, one node after another; right bytes everywhere', async (_, manifest) => {
    const { cluster, upstream } = await start(4, manifest);
    const digest = digestOf(manifest);
    for (const node of cluster.nodes) {
      const got = await node.manifests.get(ORIGIN, digest, forever);
      expect(Buffer.from(got.bytes).equals(manifest)).toBe(true);
      expect(got.mediaType).toBe(MEDIA_TYPES.ociManifest);
      expect(got.source).toBe(node === cluster.node(0) ? 'upstream' : 'peer');
      await eventually(() => node.store.stat(digest) !== undefined);
    }
    expect(upstream.gets).toEqual([digest]);
    expect(cluster.keeper.leases.size).toBe(0);
  });

  test('a holder with wrong bytes is left, and named', async () => {
    const { cluster, upstream } = await start(2, LARGE);
    const digest = digestOf(LARGE);
    const liar = cluster.node(1);
    cluster.keeper.holders.set(`blob:${digest}`, new Set([liar.id]));
    liar.serve = () => ({ sizeBytes: LARGE.length, path: [liar.id], events: nothing() });
    const got = await cluster.node(0).manifests.get(ORIGIN, digest, forever);
    expect(Buffer.from(got.bytes).equals(LARGE)).toBe(true);
    expect(upstream.gets).toEqual([digest]);
  });

  test('wrong bytes from upstream are told to the keeper; a 404 too', async () => {
    const { cluster, upstream } = await start(1);
    upstream.get = async () => ({ ...headOf(SMALL), bytes: json('other') });
    const digest = digestOf(SMALL);
    expect(await failureOf(cluster.node(0).manifests.get(ORIGIN, digest, forever))).toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    upstream.get = refusing('NOT_FOUND');
    expect(await failureOf(cluster.node(0).manifests.get(ORIGIN, digest, forever))).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(cluster.keeper.failures.map(({ error }) => error.code)).toEqual(['DIGEST_MISMATCH', 'NOT_FOUND']);
    expect(cluster.keeper.leases.size).toBe(0);
  });
});

describe('tags', () => {
  test('all nodes make one HEAD, and one GET of the manifest, by tag or by digest', async () => {
    const { cluster, upstream, tagsOf } = await start(4);
    const digest = digestOf(SMALL);
    for (const node of cluster.nodes) {
      const answer = await tagsOf(node).resolve(ORIGIN, 'v1', forever);
      expect(answer.record).toMatchObject({ digest, sizeBytes: SMALL.length, mediaType: MEDIA_TYPES.ociManifest });
      expect(answer.source).toBe(node === cluster.node(0) ? 'upstream' : 'peer');
      await node.manifests.get(ORIGIN, digest, forever);
    }
    expect([upstream.heads, upstream.gets]).toEqual([1, [digest]]);
  });

  test('a media type as long as there may be is told from node to node', async () => {
    const contentType = ['x', 'y'].map((letter) => letter.repeat(127)).join('/');
    const long = Buffer.from(JSON.stringify({ ...JSON.parse(SMALL.toString()), mediaType: contentType }));
    const { cluster, upstream, tagsOf } = await start(2, long);
    upstream.head = async () => ({ ...headOf(long), contentType });
    for (const node of cluster.nodes) {
      await tagsOf(node).resolve(ORIGIN, 'v1', forever);
      const { mediaType } = await node.manifests.get(ORIGIN, digestOf(long), forever);
      expect(mediaType).toBe(contentType);
    }
    expect([upstream.heads, upstream.gets.length]).toEqual([1, 1]);
  });

  test('where HEAD does not tell the digest, the GET by tag is the one GET of the manifest', async () => {
    const { cluster, upstream, tagsOf } = await start(3);
    upstream.head = async () => ({ digest: undefined, contentType: undefined, sizeBytes: undefined });
    for (const node of cluster.nodes) {
      const { record } = await tagsOf(node).resolve(ORIGIN, 'v1', forever);
      await node.manifests.get(ORIGIN, record.digest, forever);
    }
    expect([upstream.heads, upstream.gets]).toEqual([1, ['v1']]);
  });

  test('an answer keeps its age: fresh for what is left of maxAge', async () => {
    vi.useFakeTimers();
    const { cluster, upstream, tagsOf } = await start(1);
    const key = 'tag:docker.io/library/one:v1';
    const bytes = Buffer.from(
      JSON.stringify({ digest: digestOf(LARGE), mediaType: MEDIA_TYPES.ociManifest, sizeBytes: 5 }),
    );
    cluster.keeper.inline.set(key, { bytes, ageMs: MAX_AGE_MS - 1_000 });
    const tags = tagsOf(cluster.node(0));
    expect((await tags.resolve(ORIGIN, 'v1', forever)).record.digest).toBe(digestOf(LARGE));
    cluster.keeper.inline.delete(key);
    await vi.advanceTimersByTimeAsync(900);
    expect((await tags.resolve(ORIGIN, 'v1', forever)).source).toBe('store');
    await vi.advanceTimersByTimeAsync(200);
    expect((await tags.resolve(ORIGIN, 'v1', forever)).record.digest).toBe(digestOf(SMALL));
    expect(upstream.heads).toBe(1);
  });

  test('upstream down: what others last knew is served, and counted as stale', async () => {
    const { cluster, upstream, tagsOf } = await start(1);
    upstream.head = refusing('UPSTREAM_UNAVAILABLE');
    const node = cluster.node(0);
    const bytes = Buffer.from(
      JSON.stringify({ digest: digestOf(LARGE), mediaType: MEDIA_TYPES.ociManifest, sizeBytes: 5 }),
    );
    // Granted the right to ask, it fails; then the keeper tells what it was.
    cluster.keeper.answer = () => {
      const error = cluster.keeper.failures[0]?.error;
      return error && { kind: 'failed', error, stale: { bytes, ageMs: 60_000 } };
    };
    const answer = await tagsOf(node).resolve(ORIGIN, 'v1', forever);
    expect(answer).toMatchObject({ source: 'peer', record: { digest: digestOf(LARGE) } });
    const stale = (await node.metrics.tagStale.get()).values;
    expect(stale).toMatchObject([{ value: 1, labels: { registry: 'docker.io' } }]);
    expect(upstream.heads).toBe(1);
  });

  test('a 404 is told to the keeper, and by it to others', async () => {
    const { cluster, upstream, tagsOf } = await start(2);
    upstream.head = refusing('NOT_FOUND');
    for (const node of cluster.nodes) {
      expect(await failureOf(tagsOf(node).resolve(ORIGIN, 'v1', forever))).toMatchObject({ code: 'NOT_FOUND' });
    }
    expect(upstream.heads).toBe(1);
  });

  test.each([['{}'], ['not JSON'], [JSON.stringify({ digest: 'sha256:x', mediaType: 'a/b', sizeBytes: 1 })]])(
    'a keeper that answers %s is not believed',
    async (text) => {
      const { cluster, upstream, tagsOf } = await start(1);
      cluster.keeper.inline.set('tag:docker.io/library/one:v1', { bytes: Buffer.from(text), ageMs: 0 });
      const { record } = await tagsOf(cluster.node(0)).resolve(ORIGIN, 'v1', forever);
      expect(record.digest).toBe(digestOf(SMALL));
      expect(upstream.heads).toBe(1);
    },
  );
});

describe('purge', () => {
  test('what is dropped is here no more, and offered no more', async () => {
    const { cluster, tagsOf } = await start(1);
    const node = cluster.node(0);
    const tags = tagsOf(node);
    const { record } = await tags.resolve(ORIGIN, 'v1', forever);
    await node.manifests.get(ORIGIN, record.digest, forever);
    const offer = () =>
      node.offers.offer(record.digest, { offset: 0, to: 'peer-other', replaces: undefined, signal: forever });
    expect(await offer()).toBeDefined();
    await settle();
    expect(await node.blobs.purge(record.digest)).toBe(true);
    expect(node.manifests.purge(record.digest)).toBe(false);
    expect(await offer()).toBeUndefined();
    expect(await node.manifests.held(ORIGIN, record.digest)).toBeUndefined();
    expect((await tags.purge(ORIGIN, 'v1'))?.digest).toBe(record.digest);
    expect(await tags.purge(ORIGIN, 'v1')).toBeUndefined();
    expect(await node.blobs.purge(record.digest)).toBe(false);
  });
});

function json(text: string): Buffer {
  const descriptor = { mediaType: 'application/octet-stream', digest: digestOf(Buffer.from('x')), size: 1 };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: descriptor,
      layers: [descriptor],
      annotations: { text },
    }),
  );
}

function headOf(manifest: Buffer): ManifestHead {
  return { digest: digestOf(manifest), contentType: MEDIA_TYPES.ociManifest, sizeBytes: manifest.length };
}

function refusing(code: 'NOT_FOUND' | 'UPSTREAM_UNAVAILABLE') {
  return async () => {
    throw new WindlassError(code, code);
  };
}

async function* nothing(): AsyncGenerator<never> {}
