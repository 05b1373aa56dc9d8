import { describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { BlobReader } from '../../../src/pull/blob-reader.ts';
import { Blobs, type BlobsOptions } from '../../../src/pull/blobs.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';
import type { BlobStore } from '../../../src/store/blob-store.ts';
import { eventually } from '../../support/eventually.ts';
import {
  failOnUnhandledRejections,
  failureOf,
  forever,
  logger,
  MIB,
  ORIGIN,
  OTHER,
  readAll,
  scriptedRegistries,
  settle,
  startedStore,
} from './pull-fixture.ts';
import { bytesOf, digestOf, manual, rejecting, ScriptedBody, ScriptedSource, whole } from './scripted-source.ts';

const BYTES = bytesOf(2 * MIB + 5);
const DIGEST = digestOf(BYTES);
const START = { start: 0, end: undefined };
/** Far past any writer in these tests. */
const FAR = { start: 70 * MIB, end: 70 * MIB + 999 };

failOnUnhandledRejections();

interface Fixture {
  readonly blobs: Blobs;
  readonly source: ScriptedSource;
  readonly descriptors: Descriptors;
  readonly store: BlobStore;
  readonly metrics: Metrics;
  /** What HEAD upstream answers; counts how often it was asked. */
  readonly heads: { count: number; answer: () => Promise<{ sizeBytes: number | undefined }> };
  open(range?: { start: number; end: number | undefined }, origin?: typeof ORIGIN): Promise<BlobReader>;
}

async function setUp(answer = whole(BYTES), options: Partial<BlobsOptions> = {}): Promise<Fixture> {
  const source = new ScriptedSource(answer);
  const heads = { count: 0, answer: async () => ({ sizeBytes: BYTES.length as number | undefined }) };
  const store = options.store ?? (await startedStore());
  const descriptors = new Descriptors();
  const metrics = new Metrics();
  const registries = {
    ...scriptedRegistries({}),
    get: (host: string) => ({
      ...scriptedRegistries({
        getBlob: (repository, digest, { offset = 0, ...rest }) =>
          source.open(
            [ORIGIN, OTHER].find((origin) => origin.registry === host && origin.repository === repository) ?? ORIGIN,
            digest,
            { offset, ...rest },
          ),
        headBlob: async () => {
          heads.count += 1;
          return heads.answer();
        },
      }).get(host),
    }),
  };
  const blobs = new Blobs({
    store,
    registries,
    descriptors,
    finishLimitBytes: 1024 * MIB,
    logger,
    metrics,
    ...options,
  });
  const open: Fixture['open'] = (range = START, origin = ORIGIN) => blobs.open(origin, DIGEST, range, forever);
  return { blobs, source, descriptors, store, metrics, heads, open };
}

describe('once', () => {
  test('however many ask, by whatever repository, and wherever they begin, upstream is asked once', async () => {
    const { source, open, store } = await setUp();
    const got = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const start = i * 50_000;
        return readAll(await open({ start, end: undefined }, i % 2 === 0 ? ORIGIN : OTHER), { position: start });
      }),
    );
    for (const [i, bytes] of got.entries()) expect(bytes.equals(BYTES.subarray(i * 50_000))).toBe(true);
    await eventually(() => store.stat(DIGEST) !== undefined);
    const held = await open();
    expect(held.source).toBe('store');
    expect((await readAll(held)).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
  });

  test('a size that a manifest names moves nothing out of the store before a source answers', async () => {
    const store = await startedStore(10 * MIB);
    const held = bytesOf(8 * MIB, 5);
    const writer = await store.create(digestOf(held), { sizeBytes: held.length });
    await writer.write([held]);
    await writer.verify();
    await writer.commit();
    await writer.close();
    const { open, descriptors, blobs } = await setUp(rejecting('NOT_FOUND'), { store });
    descriptors.setSize(ORIGIN, DIGEST, 9 * MIB);

    const reader = await open();
    expect(await failureOf(reader.wait(0, forever))).toMatchObject({ code: 'NOT_FOUND' });
    reader.close();
    await blobs.stop();
    expect(store.stat(digestOf(held))).toBeDefined();
  });

  test('nobody finds a gap between the ingest and the held blob, however slow the commit', async () => {
    const inner = await startedStore();
    const steps: string[] = [];
    const store: BlobStore = Object.create(inner, {
      create: {
        value: async (...args: Parameters<BlobStore['create']>) => {
          const writer = await inner.create(...args);
          const { commit } = writer;
          writer.commit = async () => {
            for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve));
            await commit.call(writer);
            for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve));
          };
          return writer;
        },
      },
      stat: { value: (digest: typeof DIGEST) => inner.stat(digest) },
      unfinishedBytes: { value: (digest: typeof DIGEST) => inner.unfinishedBytes(digest) },
      open: {
        value: async (digest: typeof DIGEST) => {
          await new Promise((resolve) => setImmediate(resolve));
          return inner.open(digest);
        },
      },
    });
    const { source, open, blobs } = await setUp(whole(BYTES), { store });
    let over = false;
    const hammer = Array.from({ length: 8 }, async (_, i) => {
      while (!over) {
        for (let k = 0; k < i; k++) await null;
        const reader = await open({ start: 0, end: undefined });
        steps.push(reader.source);
        const buffer = Buffer.alloc(1000);
        await reader.wait(BYTES.length - 1000, forever);
        await reader.read(buffer, BYTES.length - 1000);
        expect(buffer.equals(BYTES.subarray(-1000))).toBe(true);
        reader.close();
        expect((await blobs.head(ORIGIN, DIGEST, forever)).sizeBytes).toBe(BYTES.length);
        await new Promise((resolve) => setImmediate(resolve));
        if (steps.filter((step) => step === 'store').length > 200) over = true;
      }
    });
    await Promise.all(hammer);
    expect(source.offsets).toEqual([0]);
    expect(steps).toContain('ingest');
  });

  test('an evicted blob is fetched again', async () => {
    const { source, open, store } = await setUp();
    await readAll(await open());
    await eventually(() => store.stat(DIGEST) !== undefined);
    await store.delete(DIGEST);
    expect((await readAll(await open())).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0, 0]);
  });

  test('a held blob that is shorter than it was fails its reader, is dropped, and fetched again', async () => {
    const inner = await startedStore();
    const { source, open, store } = await setUp(whole(BYTES), { store: inner });
    await readAll(await open());
    await eventually(() => store.stat(DIGEST) !== undefined);
    const { open: openBlob } = inner;
    inner.open = async (digest) => {
      const blob = await openBlob.call(inner, digest);
      return (
        blob && { ...blob, read: async (target, at) => (at >= MIB ? 0 : blob.read(target.subarray(0, MIB - at), at)) }
      );
    };
    expect(await failureOf(readAll(await open()))).toMatchObject({ code: 'STORE_UNUSABLE' });
    await eventually(() => store.stat(DIGEST) === undefined);
    inner.open = openBlob;
    expect((await readAll(await open())).equals(BYTES)).toBe(true);
    expect(source.openings).toHaveLength(2);
  });

  test('a request that comes while an ingest fails is served by the next ingest, from where that one was', async () => {
    const inner = await startedStore();
    const gate = Promise.withResolvers<void>();
    const { create } = inner;
    inner.create = async (...args) => {
      const writer = await create.apply(inner, args);
      const { cancel } = writer;
      writer.cancel = async (options) => {
        await gate.promise;
        await cancel.call(writer, options);
      };
      return writer;
    };
    const { source, open, descriptors } = await setUp(
      (opening) =>
        opening.index === 0
          ? {
              offset: 0,
              sizeBytes: BYTES.length,
              body: new ScriptedBody(opening.signal)
                .push(BYTES.subarray(0, MIB))
                .fail(new WindlassError('UPSTREAM_RATE_LIMITED', 'full', { retryAfterMs: 60_000 })),
            }
          : whole(BYTES)(opening),
      { store: inner },
    );
    descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
    expect(await failureOf(readAll(await open()))).toMatchObject({ code: 'UPSTREAM_RATE_LIMITED' });
    // The unfinished file is still being put away.
    const opening = open({ start: MIB, end: undefined });
    const heading = failureOf((await setUp()).blobs.head(ORIGIN, DIGEST, AbortSignal.abort(new Error('left'))));
    await settle();
    expect(source.openings).toHaveLength(1);
    gate.resolve();
    const reader = await opening;
    expect(reader.promised).toBe(false);
    expect((await readAll(reader, { position: MIB })).equals(BYTES.subarray(MIB))).toBe(true);
    expect(source.offsets).toEqual([0, MIB]);
    expect(await heading).toMatchObject({ message: 'left' });
  });

  test('what has ended is remembered: what it was, how it ended, where from, and where its time went', async () => {
    const { blobs, descriptors, store, open } = await setUp((opening) =>
      opening.index === 0 ? rejecting('NOT_FOUND')(opening) : whole(BYTES)(opening),
    );
    descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
    expect(blobs.recent.since(0)).toEqual([]);
    await failureOf(readAll(await open()));
    await eventually(() => blobs.running().length === 0);
    await readAll(await open());
    await eventually(() => store.stat(DIGEST) !== undefined && blobs.running().length === 0);
    // From the store: nothing was fetched.
    await readAll(await open());
    const [failed, committed, ...others] = blobs.recent.since(0);
    expect(others).toEqual([]);
    expect(failed).toMatchObject({ sequence: 1, state: 'failed', code: 'NOT_FOUND', writtenBytes: 0 });
    expect(committed).toMatchObject({
      sequence: 2,
      origin: ORIGIN,
      digest: DIGEST,
      pull: DIGEST.slice('sha256:'.length, 'sha256:'.length + 12),
      state: 'committed',
      code: undefined,
      writtenBytes: BYTES.length,
      source: 'upstream',
      parents: [],
    });
    expect(committed?.times.claim, 'alone, nobody is asked').toBe(0);
    for (const phase of ['firstByte', 'transfer', 'verify', 'commit'] as const) {
      expect(committed?.times[phase], phase).toBeGreaterThan(0);
    }
  });

  test('a registry that is not on the list: refused, and nothing is asked', async () => {
    const { blobs } = await setUp(whole(BYTES), { registries: scriptedRegistries({}) });
    const origin = { registry: 'denied.example', repository: 'x' };
    expect(await failureOf(blobs.open(origin, DIGEST, START, forever))).toMatchObject({ code: 'REGISTRY_DENIED' });
    expect(await failureOf(blobs.head(origin, DIGEST, forever))).toMatchObject({ code: 'REGISTRY_DENIED' });
    expect(blobs.running()).toEqual([]);
  });
});

describe('promises', () => {
  test('a size that a manifest named is promised to its own repository, before any source has answered', async () => {
    const { answer, body } = manual(BYTES.length);
    const { open, descriptors, blobs } = await setUp(answer);
    descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
    const reader = await open();
    expect([reader.promised, reader.sizeBytes]).toEqual([true, BYTES.length]);
    expect((await open(START, OTHER)).promised).toBe(false);
    expect(await blobs.head(ORIGIN, DIGEST, forever)).toEqual({ sizeBytes: BYTES.length, source: 'ingest' });
    body().push(BYTES).end();
    expect((await readAll(reader)).equals(BYTES)).toBe(true);
  });

  test('a size from one repository is no promise to another that says otherwise', async () => {
    const { answer } = manual(BYTES.length);
    const { open, descriptors, blobs } = await setUp(answer);
    descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
    descriptors.setSize(OTHER, DIGEST, 7);
    expect((await open()).promised).toBe(true);
    expect((await open(START, OTHER)).promised).toBe(false);
    await blobs.stop();
  });

  test('after a failure nothing is promised for 30 s, whoever asks', async () => {
    vi.useFakeTimers();
    const { open, descriptors, source } = await setUp(rejecting('NOT_FOUND'));
    descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
    descriptors.setSize(OTHER, DIGEST, BYTES.length);
    expect(await failureOf(readAll(await open()))).toMatchObject({ code: 'NOT_FOUND' });
    await vi.advanceTimersByTimeAsync(10);
    const again = await open(START, OTHER);
    expect(again.promised).toBe(false);
    expect(await failureOf(again.opened(forever))).toMatchObject({ code: 'NOT_FOUND' });
    again.close();
    await vi.advanceTimersByTimeAsync(30_100);
    source.answer = whole(BYTES);
    const later = await open();
    expect(later.promised).toBe(true);
    await vi.advanceTimersByTimeAsync(100);
    later.close();
  });

  test('wrong bytes twice within 30 s: refused without asking, GET and HEAD, for that repository alone', async () => {
    vi.useFakeTimers();
    const wrong = Buffer.from(BYTES).fill(0, 10, 20);
    const { open, source, blobs, descriptors, heads } = await setUp((opening) =>
      whole(opening.origin === ORIGIN ? wrong : BYTES)(opening),
    );
    for (let i = 0; i < 2; i++) {
      descriptors.setSize(ORIGIN, DIGEST, BYTES.length);
      const failing = failureOf(readAll(await open()));
      await vi.advanceTimersByTimeAsync(100);
      expect(await failing).toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(descriptors.sizeOf(ORIGIN, DIGEST)).toBeUndefined();
    }
    expect(source.openings).toHaveLength(2);
    expect(await failureOf(open())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await failureOf(blobs.head(ORIGIN, DIGEST, forever))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect([source.openings.length, heads.count]).toEqual([2, 0]);
    const other = readAll(await open(START, OTHER));
    await vi.advanceTimersByTimeAsync(100);
    expect((await other).equals(BYTES)).toBe(true);
  });

  test('30 s after wrong bytes upstream is asked again', async () => {
    vi.useFakeTimers();
    const wrong = Buffer.from(BYTES).fill(0, 10, 20);
    const { open, source } = await setUp(whole(wrong));
    for (let i = 0; i < 2; i++) {
      const failing = failureOf(readAll(await open()));
      await vi.advanceTimersByTimeAsync(100);
      await failing;
    }
    await vi.advanceTimersByTimeAsync(30_000);
    source.answer = whole(BYTES);
    const reading = readAll(await open());
    await vi.advanceTimersByTimeAsync(100);
    expect((await reading).equals(BYTES)).toBe(true);
  });
});

describe('head', () => {
  test('is asked once however many want it, and then known', async () => {
    const { blobs, heads, source } = await setUp();
    const gate = Promise.withResolvers<{ sizeBytes: number }>();
    heads.answer = () => gate.promise;
    const leaving = new AbortController();
    const left = failureOf(blobs.head(ORIGIN, DIGEST, leaving.signal));
    const all = Array.from({ length: 10 }, () => blobs.head(ORIGIN, DIGEST, forever));
    await settle();
    leaving.abort(new Error('left'));
    expect(await left).toMatchObject({ message: 'left' });
    gate.resolve({ sizeBytes: BYTES.length });
    for (const { sizeBytes } of await Promise.all(all)) expect(sizeBytes).toBe(BYTES.length);
    expect((await blobs.head(ORIGIN, DIGEST, forever)).sizeBytes).toBe(BYTES.length);
    expect([heads.count, source.openings.length]).toEqual([1, 0]);
  });

  test('where upstream does not say, the bytes tell, once', async () => {
    const { blobs, heads, source, store } = await setUp(whole(BYTES, { saysSize: false }));
    heads.answer = async () => ({ sizeBytes: undefined });
    const answers = await Promise.all([
      blobs.head(ORIGIN, DIGEST, forever),
      blobs.head(ORIGIN, DIGEST, forever),
      blobs.head(OTHER, DIGEST, forever),
    ]);
    expect(answers.map(({ sizeBytes }) => sizeBytes)).toEqual([BYTES.length, BYTES.length, BYTES.length]);
    await eventually(() => store.stat(DIGEST) !== undefined);
    expect(source.openings).toHaveLength(1);
    expect(await blobs.head(ORIGIN, DIGEST, forever)).toEqual({ sizeBytes: BYTES.length, source: 'store' });
  });

  test('while an ingest has no answer yet, says what GET will say', async () => {
    const gate = Promise.withResolvers<void>();
    const { blobs, open, heads } = await setUp(async (opening) => {
      await gate.promise;
      return rejecting('NOT_FOUND')(opening);
    });
    const reader = await open();
    const get = failureOf(reader.opened(forever));
    const head = failureOf(blobs.head(ORIGIN, DIGEST, forever));
    await settle();
    gate.resolve();
    expect(await get).toMatchObject({ code: 'NOT_FOUND' });
    expect(await head).toMatchObject({ code: 'NOT_FOUND' });
    expect(heads.count).toBe(0);
    reader.close();
  });
});

describe('ranges far ahead', () => {
  const HUGE = 200 * MIB;
  const parts = manualParts(HUGE);

  /** An ingest that stands still at 0, and ranges that are answered. */
  function manualParts(sizeBytes: number): (options?: { ignoresRange?: boolean }) => ScriptedSource['answer'] {
    return ({ ignoresRange = false } = {}) =>
      ({ offset, end, signal }) => {
        const body = new ScriptedBody(signal);
        if (end !== undefined) body.push(Buffer.alloc(end - offset + 1, 7)).end();
        return { offset: ignoresRange ? 0 : offset, sizeBytes, body };
      };
  }

  test('go straight upstream, at most two at a time, and are counted; the third waits for the writer', async () => {
    const { open, source, metrics, blobs } = await setUp(parts());
    const whole = await open();
    await settle();
    const direct = [await open(FAR), await open(FAR)];
    const third = await open(FAR);
    expect(source.openings.map(({ offset, end }) => [offset, end])).toEqual([
      [0, undefined],
      [FAR.start, FAR.end],
      [FAR.start, FAR.end],
    ]);
    expect(direct.map(({ source: from, sizeBytes }) => [from, sizeBytes])).toEqual([
      ['upstream', HUGE],
      ['upstream', HUGE],
    ]);
    expect(third.source).toBe('ingest');
    expect(await readAll(direct[0] as BlobReader, { position: FAR.start })).toEqual(Buffer.alloc(1000, 7));
    const fourth = await open(FAR);
    expect(fourth.source).toBe('upstream');
    expect(
      await (metrics.rangedRequests as unknown as { get(): Promise<{ values: { value: number }[] }> }).get(),
    ).toMatchObject({
      values: [{ value: 3 }],
    });
    for (const reader of [whole, third, fourth, ...direct]) reader.close();
    expect(source.bodies.slice(1).every(({ over }) => over)).toBe(true);
    await blobs.stop();
    expect(source.leaked).toBe(0);
  });

  test.each([
    ['open-ended', { start: FAR.start, end: undefined }],
    ['too long', { start: FAR.start, end: FAR.start + 8 * MIB }],
    ['too near', { start: 64 * MIB, end: 64 * MIB + 5 }],
    ['backwards', { start: FAR.start, end: 0 }],
    ['past the end', { start: HUGE, end: HUGE + 5 }],
  ])('%s: waits for the writer', async (_, range) => {
    const { open, source, blobs, descriptors } = await setUp(parts());
    descriptors.setSize(ORIGIN, DIGEST, HUGE);
    const reader = await open(range);
    await settle();
    expect(source.offsets).toEqual([0]);
    expect(reader.ingestId).toBeDefined();
    reader.close();
    await blobs.stop();
  });

  test.each([
    ['ignores the range', parts({ ignoresRange: true })],
    [
      'fails',
      (opening: Parameters<ScriptedSource['answer']>[0]) =>
        opening.end === undefined ? parts()(opening) : rejecting('UPSTREAM_UNAVAILABLE')(opening),
    ],
    [
      'says another size',
      (opening: Parameters<ScriptedSource['answer']>[0]) =>
        opening.end === undefined ? parts()(opening) : { ...whole(BYTES)(opening), offset: opening.offset },
    ],
  ] as const)('a source that %s: waits for the writer after all, and nothing leaks', async (_, answer) => {
    const { open, source, blobs } = await setUp(answer);
    const first = await open();
    await first.opened(forever);
    const reader = await open(FAR);
    expect(reader.ingestId).toBeDefined();
    expect(source.leaked).toBe(1);
    reader.close();
    first.close();
    await blobs.stop();
    expect(source.leaked).toBe(0);
  });
});

describe('passing (no room)', () => {
  test('a reader of what is gone is served straight from upstream, two at once, and a third is told to come back', async () => {
    const big = bytesOf(6 * MIB);
    const digest = digestOf(big);
    const { answer, body } = manual(big.length);
    const { blobs, source } = await setUp((opening) => (opening.index === 0 ? answer(opening) : whole(big)(opening)), {
      store: await startedStore(MIB),
    });
    const open = (start: number) => blobs.open(ORIGIN, digest, { start, end: undefined }, forever);
    const first = await open(0);
    await settle();
    body().push(big.subarray(0, 4 * MIB));
    await eventually(() => first.available >= 3 * MIB);
    await first.wait(3 * MIB, forever);
    body().push(big.subarray(4 * MIB, 5 * MIB));
    await eventually(() => first.available > 4 * MIB);
    const direct = [await open(0), await open(MIB)];
    expect(await failureOf(open(MIB))).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
    expect((await readAll(direct[0] as BlobReader)).equals(big)).toBe(true);
    expect((await readAll(direct[1] as BlobReader, { position: MIB })).equals(big.subarray(MIB))).toBe(true);
    body()
      .push(big.subarray(5 * MIB))
      .end();
    expect((await readAll(first, { position: 3 * MIB })).equals(big.subarray(3 * MIB))).toBe(true);
    await eventually(() => blobs.running().length === 0);
    expect(source.leaked).toBe(0);
    // It was passed, not kept: the next one fetches it anew.
    expect((await readAll(await open(0))).equals(big)).toBe(true);
  });

  test('a direct reader that waits leaves by its signal, and its connection is freed', async () => {
    const big = bytesOf(6 * MIB);
    const { answer, body } = manual(big.length);
    const stalled = manual(big.length);
    const { blobs, source } = await setUp((opening) => (opening.index === 0 ? answer : stalled.answer)(opening), {
      store: await startedStore(MIB),
    });
    const first = await blobs.open(ORIGIN, digestOf(big), START, forever);
    await settle();
    body().push(big.subarray(0, 4 * MIB));
    await first.wait(3 * MIB, forever);
    body().push(big.subarray(4 * MIB, 5 * MIB));
    await eventually(() => first.available > 4 * MIB);
    const direct = await blobs.open(ORIGIN, digestOf(big), START, forever);
    const leaving = new AbortController();
    const waiting = failureOf(direct.wait(0, leaving.signal));
    leaving.abort(new Error('left'));
    expect(await waiting).toMatchObject({ message: 'left' });
    direct.close();
    expect(stalled.body().left).toBe(true);
    expect(source.openings[1]?.signal.aborted).toBe(true);
    await blobs.stop();
    first.close();
  });
});

describe('stop', () => {
  test('ends all ingests, keeps their bytes, and refuses new ones; another Blobs over that store goes on', async () => {
    const { answer, body } = manual(BYTES.length);
    const { open, blobs, store, source } = await setUp(answer);
    const reader = await open();
    await settle();
    body().push(BYTES.subarray(0, MIB));
    await eventually(() => reader.available > 0);
    expect(blobs.running()).toMatchObject([{ digest: DIGEST, state: 'writing', written: MIB, readers: 1 }]);
    const failing = failureOf(readAll(reader));
    await blobs.stop();
    expect(await failing).toMatchObject({ code: 'STOPPING' });
    expect(await failureOf(open())).toMatchObject({ code: 'STOPPING' });
    expect(source.leaked).toBe(0);
    expect(blobs.running()).toEqual([]);
    const next = await setUp(whole(BYTES), { store });
    expect((await readAll(await next.open())).equals(BYTES)).toBe(true);
    expect(next.source.offsets).toEqual([MIB]);
  });
});

describe('an upstream that says 0 bytes of what is not empty', () => {
  test('on HEAD: the bytes are asked', async () => {
    const { blobs, heads } = await setUp();
    heads.answer = async () => ({ sizeBytes: 0 });
    expect(await blobs.head(ORIGIN, DIGEST, forever)).toMatchObject({ sizeBytes: BYTES.length });
  });

  test('on GET: no client is told that it has the whole', async () => {
    const empty = whole(new Uint8Array(0));
    const { open, source } = await setUp(empty);
    const reader = await open();
    expect(await failureOf(reader.opened(forever))).toMatchObject({ code: 'UPSTREAM_NONSENSE' });
    reader.close();
    expect(source.openings.length).toBeGreaterThan(1);
  });
});
