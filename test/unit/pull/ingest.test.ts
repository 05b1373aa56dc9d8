import { describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { BlobStore, BlobWriter } from '../../../src/store/blob-store.ts';
import { eventually } from '../../support/eventually.ts';
import {
  failOnUnhandledRejections,
  failureOf,
  forever,
  MIB,
  ORIGIN,
  OTHER,
  readAll,
  runIngest,
  settle,
  startedStore,
} from './pull-fixture.ts';
import {
  bytesOf,
  chunksOf,
  digestOf,
  manual,
  rejecting,
  ScriptedBody,
  ScriptedSource,
  whole,
} from './scripted-source.ts';

const TAIL = 64 * 1024;
const BYTES = bytesOf(3 * MIB + 17);
const cut = () => new WindlassError('UPSTREAM_UNAVAILABLE', 'cut');

failOnUnhandledRejections();

describe('one writer, many readers', () => {
  test('however many read, from wherever, one source is opened once and each gets the right bytes', async () => {
    const source = new ScriptedSource(whole(BYTES, { chunk: 10_007 }));
    const { join, ended } = await runIngest(BYTES, [source]);
    const starts = [0, 1, 65_536, 1_000_003, BYTES.length - TAIL - 1, BYTES.length - 1, BYTES.length];
    const got = await Promise.all(
      starts.map((position, i) => readAll(join(position), { position, bufferBytes: 1 + i * 30_011 + 500 })),
    );
    for (const [i, start] of starts.entries()) expect(got[i]?.equals(BYTES.subarray(start))).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([0]);
    expect(source.leaked).toBe(0);
  });

  test.each([
    ['known', BYTES.length],
    ['told by the source', undefined],
  ])('the tail is held back until the digest is verified (size %s)', async (_, sizeBytes) => {
    const { answer, body } = manual(BYTES.length);
    const { ingest, join, ended, store } = await runIngest(BYTES, [new ScriptedSource(answer)], { sizeBytes });
    const reader = join();
    expect(await reader.opened(forever)).toBe(BYTES.length);
    body().push(BYTES);
    await eventually(() => ingest.written === BYTES.length);
    expect(reader.available).toBe(BYTES.length - TAIL);
    expect(store.stat(ingest.digest)).toBeUndefined();
    body().end();
    expect((await readAll(reader)).equals(BYTES)).toBe(true);
    expect((await ended).state).toBe('committed');
  });

  test('of a blob whose size nobody says, the last 64 KiB so far are held back; opened says so', async () => {
    const { answer, body } = manual(undefined);
    const { ingest, join, ended } = await runIngest(BYTES, [new ScriptedSource(answer)], { sizeBytes: undefined });
    const reader = join();
    expect(await reader.opened(forever)).toBeUndefined();
    body().push(BYTES.subarray(0, MIB));
    await eventually(() => ingest.written === MIB);
    expect(reader.available).toBe(MIB - TAIL);
    body().push(BYTES.subarray(MIB)).end();
    expect((await readAll(reader)).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(ingest.sizeBytes).toBe(BYTES.length);
  });

  test('a zero-byte blob', async () => {
    const empty = Buffer.alloc(0);
    for (const sizeBytes of [0, undefined]) {
      const { join, ended } = await runIngest(empty, [new ScriptedSource(whole(empty))], { sizeBytes });
      const reader = join();
      expect(await reader.wait(0, forever)).toBe(false);
      expect(await ended).toEqual({ state: 'committed' });
      reader.close();
    }
  });

  test('a reader that stalls, and one that leaves, change nothing for the others', async () => {
    const source = new ScriptedSource(whole(BYTES));
    const { ingest, join, ended } = await runIngest(BYTES, [source]);
    const stalled = join();
    join().close();
    const other = join();
    other.close();
    other.close();
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    await ended;
    expect(ingest.readerCount).toBe(1);
    // It may go on when it likes, from where it is.
    expect((await readAll(stalled)).equals(BYTES)).toBe(true);
    expect(source.offsets).toEqual([0]);
  });

  test('a waiting reader leaves by its signal, and the ingest goes on', async () => {
    const { answer, body } = manual(BYTES.length);
    const { join, ended } = await runIngest(BYTES, [new ScriptedSource(answer)]);
    const leaving = new AbortController();
    const waiting = failureOf(join().wait(0, leaving.signal));
    await settle();
    leaving.abort(new Error('left'));
    expect(await waiting).toMatchObject({ message: 'left' });
    body().push(BYTES).end();
    expect(await ended).toEqual({ state: 'committed' });
  });

  test('a slow store is waited for: no write overlaps another, and none is missing at the end', async () => {
    const inner = await startedStore();
    let writing = 0;
    const store = withWriter(inner, (writer) => ({
      async write(chunks) {
        expect(++writing).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 6));
        await writer.write(chunks);
        writing -= 1;
      },
    }));
    const { answer, body } = manual(BYTES.length);
    const { join, ended } = await runIngest(BYTES, [new ScriptedSource(answer)], { store });
    const reading = readAll(join());
    await settle();
    for (const [i, chunk] of chunksOf(BYTES, 100_000).entries()) {
      body().push(chunk);
      if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
    }
    body().end();
    expect((await reading).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
  });
});

describe('cuts', () => {
  test('goes on at the offset after each cut', async () => {
    const cuts = [300_000, 1_500_000, 3_000_000];
    const source = new ScriptedSource(({ offset, signal, index }) => {
      const body = new ScriptedBody(signal).push(BYTES.subarray(offset, cuts[index]));
      return { offset, sizeBytes: BYTES.length, body: index < cuts.length ? body.fail(cut()) : body.end() };
    });
    const { join, ended, metrics } = await runIngest(BYTES, [source]);
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([0, ...cuts]);
    expect(await sumOf(metrics, 'windlass_ingest_resumes_total')).toBe(3);
    expect(source.leaked).toBe(0);
  });

  test('where the range is ignored, what is there already is skipped', async () => {
    const source = new ScriptedSource(({ signal, index }) => {
      const body = new ScriptedBody(signal).push(
        ...chunksOf(index === 0 ? BYTES.subarray(0, 777_777) : BYTES, 100_003),
      );
      return { offset: 0, sizeBytes: BYTES.length, body: index === 0 ? body.fail(cut()) : body.end() };
    });
    const { join, ended } = await runIngest(BYTES, [source]);
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([0, 777_777]);
  });

  test('an end before the known size is a cut', async () => {
    const source = new ScriptedSource(({ offset, signal, index }) => ({
      offset,
      sizeBytes: undefined,
      body: new ScriptedBody(signal).push(BYTES.subarray(offset, index === 0 ? 500_000 : undefined)).end(),
    }));
    const { join, ended } = await runIngest(BYTES, [source]);
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([0, 500_000]);
  });

  test('a body that begins past the offset is left, and never joined to what is there', async () => {
    const source = new ScriptedSource(({ offset, signal, index }) => ({
      offset: index === 0 ? 10 : offset,
      sizeBytes: BYTES.length,
      body: new ScriptedBody(signal).push(BYTES.subarray(index === 0 ? 10 : offset)).end(),
    }));
    const { join, ended } = await runIngest(BYTES, [source]);
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.bodies[0]?.left).toBe(true);
  });

  test('tries are bounded; then readers get what is there, and then the error; the bytes stay', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource(({ offset, signal, index }) => ({
      offset,
      sizeBytes: BYTES.length,
      body: new ScriptedBody(signal).push(BYTES.subarray(offset, index === 0 ? MIB : offset)).fail(cut()),
    }));
    const { ingest, join, ended, store } = await runIngest(BYTES, [source]);
    const got: Buffer[] = [];
    const failure = failureOf(readAll(join(), { got }));
    await vi.advanceTimersByTimeAsync(100_000);
    expect(await failure).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE', message: 'cut' });
    expect(Buffer.concat(got).equals(BYTES.subarray(0, MIB))).toBe(true);
    expect(await ended).toMatchObject({ state: 'failed' });
    expect(source.openings).toHaveLength(6);
    expect(source.leaked).toBe(0);
    expect(store.stats().ingestBytes).toBe(MIB);
    expect(ingest.failing).toBe(true);
    vi.useRealTimers();
    const again = new ScriptedSource(whole(BYTES));
    const next = await runIngest(BYTES, [again], { store });
    expect((await readAll(next.join())).equals(BYTES)).toBe(true);
    expect(again.offsets).toEqual([MIB]);
  });

  test('before any byte, three tries are made within a second', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource(rejecting('UPSTREAM_UNAVAILABLE'));
    const { join } = await runIngest(BYTES, [source]);
    let failed = false;
    const failure = failureOf(join().opened(forever)).finally(() => {
      failed = true;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(failed).toBe(true);
    expect(await failure).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
    expect(source.openings).toHaveLength(3);
  });

  test('a registry that asks for a pause gets it, up to 30 s', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource((opening) =>
      opening.index === 0
        ? rejecting('UPSTREAM_RATE_LIMITED', { retryAfterMs: 7_000 })(opening)
        : whole(BYTES)(opening),
    );
    const { ended } = await runIngest(BYTES, [source]);
    await vi.advanceTimersByTimeAsync(6_900);
    expect(source.openings).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(source.openings).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await ended).toEqual({ state: 'committed' });
    const tooLong = new ScriptedSource(rejecting('UPSTREAM_RATE_LIMITED', { retryAfterMs: 31_000 }));
    const second = await runIngest(BYTES, [tooLong]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await second.ended).toMatchObject({ state: 'failed', error: { code: 'UPSTREAM_RATE_LIMITED' } });
    expect(tooLong.openings).toHaveLength(1);
  });

  test('nothing is tried for ever: 100 s without progress are enough', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource(async ({ offset, signal, index }) => {
      if (index === 0) {
        return {
          offset,
          sizeBytes: BYTES.length,
          body: new ScriptedBody(signal).push(BYTES.subarray(0, MIB)).fail(cut()),
        };
      }
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      throw new WindlassError('UPSTREAM_STALLED', 'no answer');
    });
    const { ended } = await runIngest(BYTES, [source]);
    let over = false;
    void ended.then(() => {
      over = true;
    });
    await vi.advanceTimersByTimeAsync(130_000);
    expect(over).toBe(true);
  });
});

describe('repositories and sources', () => {
  const refusing = (code: 'NOT_FOUND' | 'UPSTREAM_UNAUTHORIZED') =>
    new ScriptedSource((opening) => (opening.origin === ORIGIN ? rejecting(code)(opening) : whole(BYTES)(opening)));

  test.each(['NOT_FOUND', 'UPSTREAM_UNAUTHORIZED'] as const)(
    '%s of one repository fails only who named it',
    async (code) => {
      const source = refusing(code);
      const gate = Promise.withResolvers<void>();
      const { answer } = source;
      source.answer = async (opening) => {
        await gate.promise;
        return answer(opening);
      };
      const { join, ended, ingest } = await runIngest(BYTES, [source]);
      const failing = failureOf(readAll(join(0, ORIGIN)));
      const going = readAll(join(0, OTHER));
      gate.resolve();
      expect(await failing).toMatchObject({ code });
      expect(() => ingest.join(ORIGIN, 0, { first: false, promisedBytes: BYTES.length })).toThrow(code);
      expect((await going).equals(BYTES)).toBe(true);
      expect(await ended).toEqual({ state: 'committed' });
      expect(source.openings.map(({ origin }) => origin)).toEqual([ORIGIN, OTHER]);
    },
  );

  test('with every repository refused, each reader gets what its own answered', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource((opening) =>
      rejecting(opening.origin === ORIGIN ? 'UPSTREAM_UNAVAILABLE' : 'NOT_FOUND')(opening),
    );
    const { join, ended } = await runIngest(BYTES, [source]);
    const failures = [failureOf(readAll(join(0, ORIGIN))), failureOf(readAll(join(0, OTHER)))];
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await Promise.all(failures)).toMatchObject([{ code: 'UPSTREAM_UNAVAILABLE' }, { code: 'NOT_FOUND' }]);
    expect(await ended).toMatchObject({ state: 'failed' });
  });

  test('a source that has nothing, or is down, leaves the turn to the next', async () => {
    for (const code of ['NOT_FOUND', 'UPSTREAM_UNAVAILABLE', 'UPSTREAM_STALLED'] as const) {
      const peer = new ScriptedSource(rejecting(code), 'peer');
      const upstream = new ScriptedSource(whole(BYTES));
      const { ended } = await runIngest(BYTES, [peer, upstream]);
      expect(await ended).toEqual({ state: 'committed' });
      expect([peer.offsets, upstream.offsets]).toEqual([[0], [0]]);
    }
  });

  test('a reader is promised the size only if the ingest has the same', async () => {
    const { answer } = manual(BYTES.length);
    const { join, ingest, ended } = await runIngest(BYTES, [new ScriptedSource(answer)]);
    expect(join(0, OTHER, BYTES.length).promised).toBe(true);
    expect(join(0, OTHER, BYTES.length + 1).promised).toBe(false);
    expect(join(0, OTHER).promised).toBe(false);
    ingest.stop(new WindlassError('STOPPING', 'enough'));
    await ended;
  });
});

describe('wrong bytes', () => {
  const WRONG = Buffer.from(BYTES);
  WRONG[5] = (WRONG[5] ?? 0) ^ 1;

  test.each([
    ['one bit', whole(WRONG), BYTES.length],
    ['one bit, size unknown', whole(WRONG, { saysSize: false }), undefined],
    [
      'too many, which the length does not say',
      whole(Buffer.concat([BYTES, BYTES]), { saysSize: false }),
      BYTES.length,
    ],
    ["another length than the manifest's", whole(BYTES.subarray(0, -1)), BYTES.length],
    ['too few, size unknown', whole(BYTES.subarray(0, -1), { saysSize: false }), undefined],
  ] as const)('%s: nothing is kept, and nobody gets the end', async (_, answer, sizeBytes) => {
    const source = new ScriptedSource(answer);
    const { ingest, join, ended, store, metrics } = await runIngest(BYTES, [source], { sizeBytes });
    const got: Buffer[] = [];
    const failure = await failureOf(readAll(join(), { got }));
    expect(failure).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(Buffer.concat(got).length).toBeLessThanOrEqual(BYTES.length - TAIL);
    expect(await ended).toMatchObject({ state: 'failed', blamed: ORIGIN });
    expect(store.stat(ingest.digest)).toBeUndefined();
    expect(store.stats().ingestBytes).toBe(0);
    expect(source.openings).toHaveLength(1);
    expect(source.leaked).toBe(0);
    expect(await sumOf(metrics, 'windlass_verification_failures_total')).toBe(1);
  });

  test('too few of a known size are asked for again, then given up; the end is never given', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource(whole(BYTES.subarray(0, -1), { saysSize: false }));
    const { join, ended, store, ingest } = await runIngest(BYTES, [source]);
    const got: Buffer[] = [];
    const failure = failureOf(readAll(join(), { got }));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await failure).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
    expect(Buffer.concat(got).equals(BYTES.subarray(0, BYTES.length - TAIL))).toBe(true);
    await ended;
    expect(store.stat(ingest.digest)).toBeUndefined();
  });

  test('a size that no source confirmed is blamed on who brought it, not on who was asked', async () => {
    const source = new ScriptedSource((opening) =>
      opening.origin === ORIGIN ? rejecting('NOT_FOUND')(opening) : whole(BYTES)(opening),
    );
    const { join, ended } = await runIngest(BYTES, [source], { sizeBytes: 5 });
    join(0, OTHER);
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'DIGEST_MISMATCH' }, blamed: ORIGIN });
  });

  test('a corrupt unfinished file is resumed once, then deleted', async () => {
    const store = await startedStore();
    const writer = await store.create(digestOf(BYTES), { sizeBytes: BYTES.length });
    await writer.write([WRONG.subarray(0, MIB)]);
    await writer.cancel({ keep: true });
    await writer.close();
    const source = new ScriptedSource(whole(BYTES));
    const first = await runIngest(BYTES, [source], { store });
    expect(await first.ended).toMatchObject({ state: 'failed', error: { code: 'DIGEST_MISMATCH' } });
    const second = await runIngest(BYTES, [source], { store });
    expect(await second.ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([MIB, 0]);
  });

  test('an unfinished file that is longer than the blob is begun anew', async () => {
    const store = await startedStore();
    const writer = await store.create(digestOf(BYTES));
    await writer.write([BYTES, BYTES]);
    await writer.cancel({ keep: true });
    await writer.close();
    const source = new ScriptedSource(whole(BYTES));
    const { ended } = await runIngest(BYTES, [source], { store });
    expect(await ended).toEqual({ state: 'committed' });
    expect(source.offsets).toEqual([0]);
  });
});

describe('ends', () => {
  test('with no reader left it finishes, if not too much is lacking', async () => {
    vi.useFakeTimers();
    const { answer, body } = manual(BYTES.length);
    const { join, ended, store, ingest } = await runIngest(BYTES, [new ScriptedSource(answer)], {
      finishLimitBytes: BYTES.length,
    });
    join().close();
    await vi.advanceTimersByTimeAsync(60_000);
    body().push(BYTES).end();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await ended).toEqual({ state: 'committed' });
    expect(store.stat(ingest.digest)).toEqual({ digest: ingest.digest, sizeBytes: BYTES.length });
  });

  test('else it stops after a while, and what it has stays; a reader that comes back in time prevents it', async () => {
    vi.useFakeTimers();
    const { answer, body } = manual(BYTES.length);
    const source = new ScriptedSource(answer);
    const { join, ended, store, ingest } = await runIngest(BYTES, [source], { finishLimitBytes: MIB });
    const first = join();
    await vi.advanceTimersByTimeAsync(10);
    body().push(BYTES.subarray(0, MIB));
    await vi.advanceTimersByTimeAsync(100);
    first.close();
    await vi.advanceTimersByTimeAsync(2_000);
    const second = join();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ingest.failing).toBe(false);
    second.close();
    await vi.advanceTimersByTimeAsync(2_900);
    expect(ingest.failing).toBe(false);
    await vi.advanceTimersByTimeAsync(200);
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'STOPPING' } });
    expect(source.leaked).toBe(0);
    expect(store.stats().ingestBytes).toBe(MIB);
  });

  test('a size that is learned after the last reader left counts too', async () => {
    vi.useFakeTimers();
    const { answer, body } = manual(BYTES.length);
    const { join, ended } = await runIngest(BYTES, [new ScriptedSource(answer)], {
      finishLimitBytes: MIB,
      sizeBytes: undefined,
    });
    join().close();
    await vi.advanceTimersByTimeAsync(10);
    body().push(BYTES.subarray(0, 100));
    await vi.advanceTimersByTimeAsync(4_000);
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'STOPPING' } });
  });

  test('stop keeps what is there; readers are told; another ingest over the same store resumes', async () => {
    const { answer, body } = manual(BYTES.length);
    const source = new ScriptedSource(answer);
    const { join, ended, ingest, store } = await runIngest(BYTES, [source]);
    const got: Buffer[] = [];
    const failure = failureOf(readAll(join(), { got }));
    await settle();
    body().push(BYTES.subarray(0, 2 * MIB));
    await eventually(() => ingest.written === 2 * MIB);
    ingest.stop(new WindlassError('STOPPING', 'going down'));
    expect(ingest.failing).toBe(true);
    expect(await failure).toMatchObject({ code: 'STOPPING' });
    expect(Buffer.concat(got).equals(BYTES.subarray(0, 2 * MIB))).toBe(true);
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'STOPPING' } });
    expect(source.leaked).toBe(0);
    const again = new ScriptedSource(whole(BYTES));
    const next = await runIngest(BYTES, [again], { store });
    expect((await readAll(next.join())).equals(BYTES)).toBe(true);
    expect(again.offsets).toEqual([2 * MIB]);
  });

  test('a store that cannot create fails the readers, and the source is left', async () => {
    const store = await startedStore();
    store.create = async () => {
      throw new Error('EIO');
    };
    const source = new ScriptedSource(whole(BYTES));
    const { join, ended } = await runIngest(BYTES, [source], { store });
    expect(await failureOf(join().wait(0, forever))).toMatchObject({ code: 'STORE_UNUSABLE' });
    expect(await ended).toMatchObject({ state: 'failed' });
    expect(source.openings).toHaveLength(1);
    expect(source.leaked).toBe(0);
  });

  test('a store whose write fails ends the ingest, and the source is left', async () => {
    const store = withWriter(await startedStore(), () => ({
      write: async () => {
        throw new WindlassError('STORE_UNUSABLE', 'EIO');
      },
    }));
    const source = new ScriptedSource(whole(BYTES));
    const { ended } = await runIngest(BYTES, [source], { store });
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'STORE_UNUSABLE' } });
    expect(source.openings).toHaveLength(1);
    expect(source.leaked).toBe(0);
  });

  test('a commit that fails: readers get all bytes, nothing is kept, and the digest can be written again', async () => {
    const inner = await startedStore();
    let cancelled = 0;
    const store = withWriter(inner, (writer) => ({
      commit: async () => {
        throw new Error('EIO');
      },
      cancel: (options) => {
        cancelled += 1;
        return writer.cancel(options);
      },
    }));
    const { join, ended, ingest } = await runIngest(BYTES, [new ScriptedSource(whole(BYTES))], { store });
    const reader = join();
    expect(await ended).toEqual({ state: 'passed' });
    expect((await readAll(reader)).equals(BYTES)).toBe(true);
    expect(inner.stat(ingest.digest)).toBeUndefined();
    expect(cancelled).toBe(1);
    expect(inner.stats().ingestBytes).toBe(0);
    await (await inner.create(ingest.digest)).close();
  });

  test('readers read on after the end; the writer is closed once, when the last has left', async () => {
    let closed = 0;
    const store = withWriter(await startedStore(), (writer) => ({
      close: () => {
        closed += 1;
        return writer.close();
      },
    }));
    const { join, ended } = await runIngest(BYTES, [new ScriptedSource(whole(BYTES))], { store });
    const reader = join();
    await ended;
    await settle();
    expect(closed).toBe(0);
    expect((await readAll(reader)).equals(BYTES)).toBe(true);
    expect(closed).toBe(1);
  });

  test('a writer that cannot be closed is no unhandled rejection', async () => {
    const store = withWriter(await startedStore(), () => ({
      close: async () => {
        throw new Error('EIO');
      },
    }));
    const { join, ended } = await runIngest(BYTES, [new ScriptedSource(whole(BYTES))], { store });
    expect((await readAll(join())).equals(BYTES)).toBe(true);
    await ended;
  });
});

describe('passing (no room)', () => {
  const WINDOW = 8 * MIB;
  const BIG = bytesOf(40 * MIB);

  test('memory is bounded by the window above the slowest reader; nothing is kept', async () => {
    const store = await startedStore(MIB);
    let highest = 0;
    const watched = withWriter(store, (writer) => ({
      async write(chunks) {
        await writer.write(chunks);
        highest = Math.max(highest, writer.written - writer.floor);
      },
    }));
    const source = new ScriptedSource(whole(BIG, { chunk: 256 * 1024 }));
    const { ingest, join, ended } = await runIngest(BIG, [source], { store: watched });
    const readers = [join(), join()];
    const got = await Promise.all(readers.map((reader, i) => readAll(reader, { bufferBytes: (i + 1) * 100_000 })));
    for (const bytes of got) expect(bytes.equals(BIG)).toBe(true);
    expect(await ended).toEqual({ state: 'passed' });
    expect(ingest.state).toBe('passed');
    expect(store.stat(ingest.digest)).toBeUndefined();
    expect(highest).toBeLessThanOrEqual(WINDOW + 4 * MIB + 256 * 1024);
    expect(source.offsets).toEqual([0]);
  });

  test('the source is not read on while the slowest reader, alone, takes its time', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource(whole(BIG, { chunk: 256 * 1024 }));
    const { ingest, join } = await runIngest(BIG, [source], { store: await startedStore(MIB) });
    const reader = join();
    await vi.advanceTimersByTimeAsync(300_000);
    expect(ingest.written).toBeGreaterThan(WINDOW);
    expect(ingest.written).toBeLessThan(WINDOW + 5 * MIB);
    const reading = readAll(reader, { bufferBytes: MIB });
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await reading).equals(BIG)).toBe(true);
  });

  test.each([
    ['stalls', 0],
    ['creeps', 1],
  ])('a reader that %s is left behind after its bound; the others go on', async (_, step) => {
    vi.useFakeTimers();
    const { join, ended } = await runIngest(BIG, [new ScriptedSource(whole(BIG))], { store: await startedStore(MIB) });
    const slow = join();
    let failure: unknown;
    const creeping = (async () => {
      for (let position = 0; await slow.wait(position, forever); position += step) {
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
    })().catch((error) => {
      failure = error;
    });
    const reading = readAll(join(), { bufferBytes: MIB });
    await vi.advanceTimersByTimeAsync(19_000);
    expect(failure).toBeUndefined();
    await vi.advanceTimersByTimeAsync(3_000);
    await creeping;
    expect(failure).toMatchObject({ code: 'READER_TOO_SLOW' });
    expect(await failureOf(slow.read(Buffer.alloc(1), 0))).toMatchObject({ code: 'READER_TOO_SLOW' });
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await reading).equals(BIG)).toBe(true);
    expect(await ended).toEqual({ state: 'passed' });
    slow.close();
  });

  test('with no reader it stops after a while', async () => {
    vi.useFakeTimers();
    const { answer, body } = manual(BIG.length);
    const source = new ScriptedSource(answer);
    const { join, ended } = await runIngest(BIG, [source], { store: await startedStore(MIB) });
    const reader = join();
    await vi.advanceTimersByTimeAsync(10);
    body().push(BIG.subarray(0, 2 * MIB));
    await vi.advanceTimersByTimeAsync(100);
    reader.close();
    await vi.advanceTimersByTimeAsync(3_100);
    expect(await ended).toMatchObject({ state: 'failed', error: { code: 'STOPPING' } });
    expect(source.leaked).toBe(0);
  });

  test('what was discarded cannot be joined; what is in memory can', async () => {
    const { answer, body } = manual(BIG.length);
    const { ingest, join, ended } = await runIngest(BIG, [new ScriptedSource(answer)], {
      store: await startedStore(MIB),
    });
    const reader = join();
    await settle();
    body().push(BIG.subarray(0, 4 * MIB));
    await eventually(() => ingest.written === 4 * MIB);
    await reader.wait(3 * MIB, forever);
    body().push(BIG.subarray(4 * MIB, 5 * MIB));
    await eventually(() => ingest.written === 5 * MIB);
    expect(ingest.join(OTHER, 0, { first: false, promisedBytes: undefined })).toBeUndefined();
    const late = ingest.join(OTHER, 3 * MIB, { first: false, promisedBytes: undefined });
    const buffer = Buffer.alloc(1000);
    expect(await late?.read(buffer, 3 * MIB)).toBe(1000);
    expect(buffer.equals(BIG.subarray(3 * MIB, 3 * MIB + 1000))).toBe(true);
    ingest.stop(new WindlassError('STOPPING', 'enough'));
    await ended;
    reader.close();
    late?.close();
  });
});

/** The store, with some calls of its writers replaced. */
function withWriter(inner: BlobStore, replace: (writer: BlobWriter) => Partial<BlobWriter>): BlobStore {
  return new Proxy(inner, {
    get(target, name) {
      if (name !== 'create') return bound(target, name);
      return async (...args: Parameters<BlobStore['create']>) => {
        const writer = await inner.create(...args);
        const replaced = replace(writer);
        return new Proxy(writer, {
          get: (writerTarget, key) => Reflect.get(replaced, key) ?? bound(writerTarget, key),
        });
      };
    },
  });
}

function bound(target: object, name: string | symbol): unknown {
  const value = Reflect.get(target, name, target);
  return typeof value === 'function' ? value.bind(target) : value;
}

async function sumOf(metrics: { registry: { getSingleMetric(name: string): unknown } }, name: string): Promise<number> {
  const metric = metrics.registry.getSingleMetric(name) as { get(): Promise<{ values: { value: number }[] }> };
  return (await metric.get()).values.reduce((sum, { value }) => sum + value, 0);
}
