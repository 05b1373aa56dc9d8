import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import type { BlobStore } from '../../../src/store/blob-store.ts';
import type { ManifestBody } from '../../../src/upstream/registry-client.ts';
import { failureOf, forever, logger, ORIGIN, OTHER, scriptedRegistries, settle, startedStore } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const LAYER = digestOf(Buffer.from('layer'));
const MANIFEST = json({ schemaVersion: 2, config: descriptor('config', 6), layers: [descriptor('layer', 5)] });
const DIGEST = digestOf(MANIFEST);

const unhandled: unknown[] = [];
const onUnhandled = (error: unknown) => unhandled.push(error);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', onUnhandled);
});

afterEach(async () => {
  await settle();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

type Upstream = (origin: RepositoryName, reference: string, signal: AbortSignal) => Promise<ManifestBody>;

async function setUp(upstream: Upstream = async () => body(MANIFEST), store?: BlobStore) {
  const asked: { origin: RepositoryName; reference: string }[] = [];
  const held = store ?? (await startedStore());
  const descriptors = new Descriptors();
  const base = scriptedRegistries({});
  const registries = {
    ...base,
    get: (registry: string) => ({
      ...base.get(registry),
      getManifest: (repository: string, reference: string, { signal }: { signal: AbortSignal }) => {
        asked.push({ origin: { registry, repository }, reference });
        return upstream({ registry, repository }, reference, signal);
      },
    }),
  };
  const metrics = new Metrics();
  return {
    manifests: new Manifests({ store: held, registries, descriptors, logger, metrics }),
    asked,
    store: held,
    descriptors,
  };
}

describe('by digest', () => {
  test('is fetched once however many ask, by whatever repository, and kept', async () => {
    const gate = Promise.withResolvers<void>();
    const { manifests, asked, store } = await setUp(async () => {
      await gate.promise;
      return body(MANIFEST);
    });
    const all = [ORIGIN, OTHER, ORIGIN, OTHER].map((origin) => manifests.get(origin, DIGEST, forever));
    await settle();
    gate.resolve();
    for (const manifest of await Promise.all(all)) {
      expect(manifest).toMatchObject({ digest: DIGEST, mediaType: MEDIA_TYPES.ociManifest, source: 'upstream' });
      expect(Buffer.from(manifest.bytes).equals(MANIFEST)).toBe(true);
    }
    expect((await manifests.get(ORIGIN, DIGEST, forever)).source).toBe('store');
    expect(asked).toHaveLength(1);
    expect(store.stat(DIGEST)?.sizeBytes).toBe(MANIFEST.length);
    // Another agent over the same store, with nothing in memory.
    const next = await setUp(undefined, store);
    expect(await next.manifests.get(OTHER, DIGEST, forever)).toMatchObject({
      mediaType: MEDIA_TYPES.ociManifest,
      source: 'store',
    });
    expect(next.asked).toHaveLength(0);
    expect(next.descriptors.sizeOf(OTHER, LAYER)).toBe(5);
    expect(next.descriptors.sizeOf(ORIGIN, LAYER)).toBeUndefined();
  });

  test.each(['NOT_FOUND', 'UPSTREAM_UNAUTHORIZED', 'UPSTREAM_UNAVAILABLE', 'UPSTREAM_RATE_LIMITED'] as const)(
    '%s of one repository is no answer for another, and is asked for once however many want it',
    async (code) => {
      const { manifests, asked } = await setUp(async ({ registry }) => {
        await settle();
        if (registry === ORIGIN.registry) throw new WindlassError(code, 'scripted', { retryAfterMs: 1 });
        return body(MANIFEST);
      });
      const failing = [1, 2, 3].map(() => failureOf(manifests.get(ORIGIN, DIGEST, forever)));
      const going = [1, 2, 3].map(() => manifests.get(OTHER, DIGEST, forever));
      expect(await Promise.all(failing)).toMatchObject([{ code }, { code }, { code }]);
      for (const manifest of await Promise.all(going)) expect(manifest.digest).toBe(DIGEST);
      expect(asked.map(({ origin }) => origin)).toEqual([ORIGIN, OTHER]);
    },
  );

  test('a cut is tried once more; what asks to be left alone is', async () => {
    let tries = 0;
    const cut = await setUp(async () => {
      tries += 1;
      if (tries === 1) throw new WindlassError('UPSTREAM_UNAVAILABLE', 'cut');
      return body(MANIFEST);
    });
    await cut.manifests.get(ORIGIN, DIGEST, forever);
    expect(cut.asked).toHaveLength(2);
    const resting = await setUp(async () => {
      throw new WindlassError('UPSTREAM_UNAVAILABLE', 'rest', { retryAfterMs: 5_000 });
    });
    await failureOf(resting.manifests.get(ORIGIN, DIGEST, forever));
    expect(resting.asked).toHaveLength(1);
  });

  test('who leaves does not end the fetch for the others', async () => {
    const gate = Promise.withResolvers<void>();
    const { manifests, asked } = await setUp(async (_, __, signal) => {
      await gate.promise;
      signal.throwIfAborted();
      return body(MANIFEST);
    });
    const leaving = new AbortController();
    const left = failureOf(manifests.get(ORIGIN, DIGEST, leaving.signal));
    await settle();
    leaving.abort(new Error('left'));
    expect(await left).toMatchObject({ message: 'left' });
    const other = manifests.get(ORIGIN, DIGEST, forever);
    await settle();
    gate.resolve();
    expect((await other).digest).toBe(DIGEST);
    expect(asked).toHaveLength(1);
  });

  test.each([
    ['no type', undefined, { schemaVersion: 2, config: {}, layers: [] }, MEDIA_TYPES.ociManifest],
    ['text/plain', 'text/plain; charset=utf-8', { schemaVersion: 2, manifests: [] }, MEDIA_TYPES.ociIndex],
    [
      'octet-stream',
      'application/octet-stream',
      { schemaVersion: 2, mediaType: MEDIA_TYPES.dockerManifest, config: {}, layers: [] },
      MEDIA_TYPES.dockerManifest,
    ],
    [
      'another type than the bytes say',
      MEDIA_TYPES.ociManifest,
      { schemaVersion: 2, mediaType: MEDIA_TYPES.dockerList, manifests: [] },
      MEDIA_TYPES.dockerList,
    ],
  ])('upstream sends %s: the type is what the bytes say', async (_, contentType, value, mediaType) => {
    const bytes = json(value);
    const { manifests, store } = await setUp(async () => body(bytes, contentType));
    expect((await manifests.get(ORIGIN, digestOf(bytes), forever)).mediaType).toBe(mediaType);
    const next = await setUp(undefined, store);
    expect((await next.manifests.get(ORIGIN, digestOf(bytes), forever)).mediaType).toBe(mediaType);
  });

  test('other bytes than asked for are neither kept nor remembered', async () => {
    let bytes: Uint8Array = Buffer.from('<html>sign in</html>');
    const { manifests, asked, store } = await setUp(async () => body(bytes, 'text/html'));
    for (let i = 1; i <= 2; i++) {
      expect(await failureOf(manifests.get(ORIGIN, DIGEST, forever))).toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(asked).toHaveLength(i);
    }
    expect([...store.list()]).toEqual([]);
    bytes = MANIFEST;
    expect((await manifests.get(ORIGIN, DIGEST, forever)).digest).toBe(DIGEST);
  });

  test('sha512', async () => {
    const digest = digestOf(MANIFEST, 'sha512');
    const { manifests, store } = await setUp();
    expect((await manifests.get(ORIGIN, digest, forever)).digest).toBe(digest);
    expect(store.stat(digest)?.sizeBytes).toBe(MANIFEST.length);
    const next = await setUp(undefined, store);
    expect((await next.manifests.get(ORIGIN, digest, forever)).source).toBe('store');
  });

  test.each([
    ['rotten', async (target: Uint8Array) => target.fill(0).length],
    ['cut short', async () => 0],
  ])('a copy in the store that is %s is dropped and fetched again', async (_, read) => {
    const { store } = await withStored();
    const { open } = store;
    store.open = async (digest) => {
      const blob = await open.call(store, digest);
      return blob && { ...blob, read };
    };
    const next = await setUp(undefined, store);
    expect((await next.manifests.get(ORIGIN, DIGEST, forever)).source).toBe('upstream');
    expect(next.asked).toHaveLength(1);
  });

  test('a copy in the store that cannot be read is fetched', async () => {
    const { store } = await withStored();
    store.open = async () => {
      throw new Error('EIO');
    };
    const next = await setUp(undefined, store);
    expect((await next.manifests.get(ORIGIN, DIGEST, forever)).source).toBe('upstream');
  });

  test('what was deleted from the store is not served from memory; what was evicted may be', async () => {
    const { manifests, store, asked } = await withStored();
    await store.delete(DIGEST, 'corrupt');
    expect((await manifests.get(ORIGIN, DIGEST, forever)).source).toBe('upstream');
    expect(asked).toHaveLength(2);
  });

  test('a manifest that cannot be kept is served all the same', async () => {
    const store = await startedStore();
    store.create = async () => {
      throw new Error('EROFS');
    };
    const { manifests } = await setUp(undefined, store);
    expect((await manifests.get(ORIGIN, DIGEST, forever)).digest).toBe(DIGEST);
  });

  test('descriptors of what it names are remembered by repository, from memory too', async () => {
    const { manifests, descriptors } = await setUp();
    await manifests.get(ORIGIN, DIGEST, forever);
    expect([descriptors.sizeOf(ORIGIN, LAYER), descriptors.sizeOf(OTHER, LAYER)]).toEqual([5, undefined]);
    await manifests.get(OTHER, DIGEST, forever);
    expect(descriptors.sizeOf(OTHER, LAYER)).toBe(5);
  });

  async function withStored() {
    const fixture = await setUp();
    await fixture.manifests.get(ORIGIN, DIGEST, forever);
    return fixture;
  }
});

describe('by tag', () => {
  test('computes the digest, and the GET by digest that follows asks nobody', async () => {
    const { manifests, asked } = await setUp();
    expect((await manifests.getByTag(ORIGIN, 'v1', forever)).digest).toBe(DIGEST);
    await manifests.get(ORIGIN, DIGEST, forever);
    expect(asked.map(({ reference }) => reference)).toEqual(['v1']);
  });

  test('takes the algorithm of the digest that upstream names, and checks it', async () => {
    const digest = digestOf(MANIFEST, 'sha512');
    const right = await setUp(async () => ({ ...body(MANIFEST), digest }));
    expect((await right.manifests.getByTag(ORIGIN, 'v1', forever)).digest).toBe(digest);
    const wrong = await setUp(async () => ({ ...body(MANIFEST), digest: LAYER }));
    expect(await failureOf(wrong.manifests.getByTag(ORIGIN, 'v1', forever))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect([...wrong.store.list()]).toEqual([]);
  });

  test('a page with 200 is no manifest', async () => {
    const { manifests, store } = await setUp(async () => body(Buffer.from('<html></html>'), 'text/html'));
    expect(await failureOf(manifests.getByTag(ORIGIN, 'v1', forever))).toMatchObject({ code: 'UPSTREAM_NONSENSE' });
    expect([...store.list()]).toEqual([]);
  });
});

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function descriptor(text: string, size: number) {
  return { mediaType: 'application/octet-stream', digest: digestOf(Buffer.from(text)), size };
}

function body(bytes: Uint8Array, contentType: string | undefined = MEDIA_TYPES.ociManifest): ManifestBody {
  return { bytes, contentType, digest: undefined, sizeBytes: bytes.length };
}

describe('a stored blob that is asked for as a manifest', () => {
  test('is read once however many ask, and not again', async () => {
    const store = await startedStore();
    const layer = Buffer.from('layer');
    const writer = await store.create(LAYER, { sizeBytes: layer.length });
    await writer.write([layer]);
    await writer.verify();
    await writer.commit();
    await writer.close();
    const open = vi.spyOn(store, 'open');
    const { manifests } = await setUp(undefined, store);
    const all = Array.from({ length: 20 }, () => manifests.held(ORIGIN, LAYER));
    expect(await Promise.all(all)).toEqual(Array(20).fill(undefined));
    expect(await manifests.held(OTHER, LAYER)).toBeUndefined();
    expect(open).toHaveBeenCalledTimes(1);
  });

  test('and one that is a manifest is read once too', async () => {
    const { manifests, store } = await setUp();
    await manifests.get(ORIGIN, DIGEST, forever);
    const next = await setUp(undefined, store);
    const open = vi.spyOn(store, 'open');
    const all = await Promise.all(Array.from({ length: 20 }, () => next.manifests.held(ORIGIN, DIGEST)));
    expect(all.every((manifest) => manifest !== undefined && manifest.bytes === all[0]?.bytes)).toBe(true);
    expect(open).toHaveBeenCalledTimes(1);
  });
});
