import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type ErrorCode, WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import { Tags, type TagsOptions } from '../../../src/pull/tags.ts';
import { MemoryTagStore } from '../../../src/store/memory-tag-store.ts';
import type { ManifestBody, ManifestHead } from '../../../src/upstream/registry-client.ts';
import { failureOf, forever, logger, ORIGIN, scriptedRegistries, settle, startedStore } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
const DIGEST = digestOf(MANIFEST);
const MOVED = digestOf(Buffer.from('moved'));
/** The entry of the settings. */
const LABEL = '*.example.com';
const MAX_AGE_MS = 30_000;

const unhandled: unknown[] = [];
const onUnhandled = (error: unknown) => unhandled.push(error);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', onUnhandled);
  vi.useFakeTimers();
});

afterEach(async () => {
  vi.useRealTimers();
  await settle();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

async function setUp(options: Partial<TagsOptions> = {}) {
  const upstream = {
    heads: 0,
    gets: [] as string[],
    head: async (): Promise<ManifestHead> => named(DIGEST),
    get: async (): Promise<ManifestBody> => ({ ...named(undefined), bytes: MANIFEST }),
  };
  const registries = scriptedRegistries({
    label: LABEL,
    headManifest: (_, __, { signal }) => {
      upstream.heads += 1;
      return Promise.race([upstream.head(), aborted(signal)]);
    },
    getManifest: (_, reference) => {
      upstream.gets.push(reference);
      return upstream.get();
    },
  });
  const metrics = new Metrics();
  const shared = { registries, logger, metrics };
  const manifests = new Manifests({ ...shared, store: await startedStore(), descriptors: new Descriptors() });
  const store = options.tags ?? new MemoryTagStore();
  const tags = new Tags({ ...shared, tags: store, manifests, maxAgeMs: MAX_AGE_MS, staleWhenDown: true, ...options });
  const results = async () => {
    const metric = metrics.tagLookups as unknown as {
      get(): Promise<{ values: { labels: { result: string }; value: number }[] }>;
    };
    const counted = (await metric.get()).values.filter(({ value }) => value > 0);
    return Object.fromEntries(counted.map(({ labels, value }) => [labels.result, value]));
  };
  const stale = async () => (await metrics.tagStale.get()).values;
  return { tags, upstream, store, manifests, results, stale, resolve: () => tags.resolve(ORIGIN, 'v1', forever) };
}

describe('checks', () => {
  test('upstream is asked once per maxAge, however many ask, at once and one after another', async () => {
    const { resolve, upstream, results } = await setUp();
    const answers = await Promise.all(Array.from({ length: 20 }, resolve));
    for (const { record, source } of answers) expect([record.digest, source]).toEqual([DIGEST, 'upstream']);
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS - 1);
    expect(await resolve()).toMatchObject({ source: 'store', record: { digest: DIGEST, sizeBytes: MANIFEST.length } });
    expect(upstream.heads).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    upstream.head = async () => named(MOVED);
    expect((await resolve()).record.digest).toBe(MOVED);
    expect((await resolve()).record.digest).toBe(MOVED);
    expect(upstream.heads).toBe(2);
    expect(upstream.gets).toEqual([]);
    expect(await results()).toEqual({ checked: 21, fresh: 2 });
  });

  test('who reads an old record slowly does not ask again behind a check that has just ended', async () => {
    const store = new MemoryTagStore();
    const gates: (() => void)[] = [];
    const slow = {
      get: async (...args: Parameters<typeof store.get>) => {
        const record = await store.get(...args);
        if (gates.length > 0) await new Promise<void>((resolve) => gates.push(resolve));
        return record;
      },
      set: store.set.bind(store),
      delete: store.delete.bind(store),
      list: store.list.bind(store),
    };
    const { resolve, upstream } = await setUp({ tags: slow });
    gates.push(() => {});
    const both = [resolve(), resolve()];
    await vi.advanceTimersByTimeAsync(1);
    gates[1]?.();
    await vi.advanceTimersByTimeAsync(1);
    gates[2]?.();
    await Promise.all(both);
    expect(upstream.heads).toBe(1);
  });

  test('maxAge 0 asks each time', async () => {
    const always = await setUp({ maxAgeMs: 0 });
    await always.resolve();
    await always.resolve();
    expect(always.upstream.heads).toBe(2);
  });

  test('a record of before a restart counts by its age; one from the future is checked', async () => {
    for (const [ageMs, heads] of [
      [5_000, 0],
      [MAX_AGE_MS, 1],
      [-365 * 86_400_000, 1],
    ] as const) {
      const { resolve, upstream, store } = await setUp();
      const record = { digest: DIGEST, mediaType: MEDIA_TYPES.ociManifest, sizeBytes: 5 };
      await store.set(ORIGIN, 'v1', { ...record, checkedAtMs: Date.now() - ageMs });
      await resolve();
      expect(upstream.heads).toBe(heads);
    }
  });

  test('a clock that is set back does not keep a tag fresh', async () => {
    const { resolve, upstream } = await setUp();
    await resolve();
    vi.setSystemTime(Date.now() - 3_600_000);
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
    await resolve();
    expect(upstream.heads).toBe(2);
  });

  test('who leaves does not end a check', async () => {
    const { tags, upstream, resolve } = await setUp();
    const gate = Promise.withResolvers<ManifestHead>();
    upstream.head = () => gate.promise;
    const leaving = new AbortController();
    const left = failureOf(tags.resolve(ORIGIN, 'v1', leaving.signal));
    const other = resolve();
    await vi.advanceTimersByTimeAsync(1);
    leaving.abort(new Error('left'));
    expect(await left).toMatchObject({ message: 'left' });
    gate.resolve(named(DIGEST));
    expect((await other).record.digest).toBe(DIGEST);
    expect(upstream.heads).toBe(1);
  });

  test('a tag store that cannot be written does not fail a pull', async () => {
    const broken = {
      get: async () => undefined,
      set: async () => {
        throw new Error('EROFS');
      },
      delete: async () => {
        throw new Error('EROFS');
      },
      list: async () => [],
    };
    const { resolve, upstream } = await setUp({ tags: broken });
    expect((await resolve()).record.digest).toBe(DIGEST);
    upstream.head = refusing('NOT_FOUND');
    expect(await failureOf(resolve())).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('what HEAD leaves out', () => {
  test.each([
    ['no digest (or HEAD refused with 405)', { ...named(DIGEST), digest: undefined }, ['v1']],
    ['no type', { ...named(DIGEST), contentType: undefined }, [DIGEST]],
    ['text/plain', { ...named(DIGEST), contentType: 'text/plain' }, [DIGEST]],
    ['no size', { ...named(DIGEST), sizeBytes: undefined }, [DIGEST]],
  ])('%s: the manifest says, and is fetched once', async (_, head, gets) => {
    const { resolve, upstream, manifests } = await setUp();
    upstream.head = async () => head;
    expect((await resolve()).record).toMatchObject({
      digest: DIGEST,
      mediaType: MEDIA_TYPES.ociManifest,
      sizeBytes: MANIFEST.length,
    });
    expect((await manifests.get(ORIGIN, DIGEST, forever)).source).toBe('store');
    expect(upstream.gets).toEqual(gets);
    // Held, it is not fetched again at the next check.
    if (head.digest === undefined) return;
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
    await resolve();
    expect(upstream.gets).toEqual(gets);
  });
});

describe('upstream refuses', () => {
  test('404 forgets the tag', async () => {
    const { resolve, upstream, store, results } = await setUp();
    await resolve();
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
    upstream.head = refusing('NOT_FOUND');
    expect(await failureOf(resolve())).toMatchObject({ code: 'NOT_FOUND' });
    expect(await store.get(ORIGIN, 'v1')).toBeUndefined();
    expect(await results()).toEqual({ checked: 1, missing: 1 });
    // Not remembered as absent: it may be pushed at any moment.
    upstream.head = async () => named(MOVED);
    expect((await resolve()).record.digest).toBe(MOVED);
  });

  test.each(['UPSTREAM_UNAUTHORIZED', 'REGISTRY_DENIED'] as const)(
    '%s neither serves the old record nor forgets it, and is not remembered',
    async (code) => {
      const { resolve, upstream, store } = await setUp();
      await resolve();
      await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
      upstream.head = refusing(code);
      expect(await failureOf(resolve())).toMatchObject({ code });
      expect((await store.get(ORIGIN, 'v1'))?.digest).toBe(DIGEST);
      upstream.head = async () => named(MOVED);
      expect((await resolve()).record.digest).toBe(MOVED);
    },
  );
});

describe('upstream is down', () => {
  test.each(['UPSTREAM_UNAVAILABLE', 'UPSTREAM_RATE_LIMITED', 'UPSTREAM_STALLED', 'UPSTREAM_NONSENSE'] as const)(
    '%s: the tag as last known, asked again after maxAge',
    async (code) => {
      const { resolve, upstream, results, stale } = await setUp();
      await resolve();
      await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
      upstream.head = refusing(code);
      for (let i = 0; i < 5; i++)
        expect(await resolve()).toMatchObject({ source: 'store', record: { digest: DIGEST } });
      expect(upstream.heads).toBe(2);
      expect(await results()).toEqual({ checked: 1, stale: 5 });
      // By what the settings call the registry: clients may name any that a wildcard allows.
      expect(await stale()).toMatchObject([{ labels: { registry: LABEL }, value: 5 }]);
      await vi.advanceTimersByTimeAsync(MAX_AGE_MS + 1);
      upstream.head = async () => named(MOVED);
      expect(await resolve()).toMatchObject({ source: 'upstream', record: { digest: MOVED } });
      expect(upstream.heads).toBe(3);
    },
  );

  test('one that swallows packets costs 8 s once, where an old record is at hand', async () => {
    const { resolve, upstream } = await setUp();
    await resolve();
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
    upstream.head = () => new Promise(() => {});
    const answers = Promise.all([resolve(), resolve()]);
    await vi.advanceTimersByTimeAsync(7_999);
    expect(upstream.heads).toBe(2);
    await vi.advanceTimersByTimeAsync(2);
    expect(await answers).toMatchObject([{ record: { digest: DIGEST } }, { record: { digest: DIGEST } }]);
    expect((await resolve()).record.digest).toBe(DIGEST);
    expect(upstream.heads).toBe(2);
  });

  test.each([
    ['no record', {}],
    ['staleWhenDown off', { staleWhenDown: false }],
  ])('%s: fails, without asking again for 5 s', async (name, options) => {
    const { resolve, upstream, results } = await setUp(options);
    if (name !== 'no record') await resolve();
    await vi.advanceTimersByTimeAsync(MAX_AGE_MS);
    const before = upstream.heads;
    upstream.head = refusing('UPSTREAM_UNAVAILABLE');
    for (let i = 0; i < 4; i++) expect(await failureOf(resolve())).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
    expect(upstream.heads - before).toBe(1);
    expect(await results()).toMatchObject({ failed: 4 });
    await vi.advanceTimersByTimeAsync(5_001);
    upstream.head = async () => named(MOVED);
    expect((await resolve()).record.digest).toBe(MOVED);
  });
});

function named(digest: ManifestHead['digest']): ManifestHead {
  return { digest, contentType: MEDIA_TYPES.ociManifest, sizeBytes: MANIFEST.length };
}

function refusing(code: ErrorCode) {
  return async () => {
    throw new WindlassError(code, 'scripted');
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
