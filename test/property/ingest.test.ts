import {
  type Arbitrary,
  array,
  assert,
  asyncProperty,
  boolean,
  constantFrom,
  integer,
  option,
  record,
} from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WindlassError } from '../../src/errors.ts';
import type { BlobReader } from '../../src/pull/blob-reader.ts';
import { MIB, runIngest, startedStore } from '../unit/pull/pull-fixture.ts';
import { type Answer, bytesOf, chunksOf, ScriptedBody, ScriptedSource } from '../unit/pull/scripted-source.ts';

const TAIL = 64 * 1024;
const MAX_SIZE = 400_000;

/** How one answer of the source goes. */
interface Turn {
  readonly chunkBytes: number;
  /** Cut after so many bytes of this answer. */
  readonly cutAfter: number | undefined;
  readonly stallMs: number;
  readonly ignoresRange: boolean;
  readonly refused: boolean;
}

interface Visitor {
  readonly start: number;
  readonly joinsAtMs: number;
  readonly bufferBytes: number;
  /** Between two reads. */
  readonly restsMs: number;
  readonly leavesAfter: number | undefined;
}

const turns = (faulty: boolean): Arbitrary<Turn[]> =>
  array(
    record({
      chunkBytes: integer({ min: 1_000, max: 150_000 }),
      cutAfter: faulty ? option(integer({ min: 0, max: MAX_SIZE }), { nil: undefined }) : constantFrom(undefined),
      stallMs: integer({ min: 0, max: 50 }),
      ignoresRange: boolean(),
      refused: faulty ? boolean() : constantFrom(false),
    }),
    { minLength: 1, maxLength: 6 },
  );

const visitors: Arbitrary<Visitor[]> = array(
  record({
    start: integer({ min: 0, max: MAX_SIZE }),
    joinsAtMs: integer({ min: 0, max: 300 }),
    bufferBytes: integer({ min: 500, max: 200_000 }),
    restsMs: integer({ min: 0, max: 5 }),
    leavesAfter: option(integer({ min: 0, max: MAX_SIZE }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 6 },
);

const world = (faulty: boolean) =>
  record({
    sizeBytes: integer({ min: 0, max: MAX_SIZE }),
    knowsSize: boolean(),
    saysSize: boolean(),
    roomy: boolean(),
    turns: turns(faulty),
    visitors,
    /** The agent stops then. */
    stopsAtMs: faulty ? option(integer({ min: 0, max: 500 }), { nil: undefined }) : constantFrom(undefined),
  });

type World = ReturnType<typeof world> extends Arbitrary<infer T> ? T : never;

interface Visit {
  readonly got: Buffer;
  /** `gone`: what it wanted was discarded. `late`: the ingest was over. */
  readonly end: 'whole' | 'left' | 'failed' | 'gone' | 'late';
}

const unhandled: unknown[] = [];
const onUnhandled = (error: unknown) => unhandled.push(error);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', onUnhandled);
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

describe('an ingest, its readers, and whatever happens', () => {
  test('an honest source: nobody ever sees a wrong byte, and who reaches the end has the blob', async () => {
    await assert(
      asyncProperty(world(true), async (plan) => {
        const bytes = bytesOf(plan.sizeBytes, 7);
        const { visits, source, state, kept } = await play(plan, bytes, bytes);
        for (const [visit, { start }] of visits) {
          expect(visit.got.equals(bytes.subarray(start, start + visit.got.length))).toBe(true);
          if (visit.end === 'whole') expect(visit.got.equals(bytes.subarray(start))).toBe(true);
        }
        expect(source.leaked).toBe(0);
        expect(kept).toBe(state === 'committed');
      }),
      { numRuns: 150 },
    );
  });

  test('without faults the source is opened once, everybody who stays gets the blob, and it is kept if there is room', async () => {
    await assert(
      asyncProperty(world(false), async (plan) => {
        const bytes = bytesOf(plan.sizeBytes, 7);
        const { visits, source, state } = await play(plan, bytes, bytes);
        for (const [visit] of visits) expect(['whole', 'left', 'gone', 'late']).toContain(visit.end);
        if (plan.roomy) expect(visits.some(([visit]) => visit.end === 'gone')).toBe(false);
        expect(source.openings).toHaveLength(plan.knowsSize && plan.sizeBytes === 0 ? 0 : 1);
        // What would not be kept is given up where nobody reads it any more.
        const givenUp = state === 'failed' && !visits.some(([visit]) => visit.end === 'whole');
        if (plan.roomy || plan.sizeBytes === 0) expect(state).toBe('committed');
        else expect(givenUp ? 'passed' : state).toBe('passed');
      }),
      {
        numRuns: 100,
        examples: [[LEFT_ALONE_WITHOUT_ROOM]],
      },
    );
  });

  test('a lying source: nobody reaches the end, nobody gets the tail, and nothing is kept', async () => {
    await assert(
      asyncProperty(world(true), integer({ min: 0, max: MAX_SIZE }), async (plan, at) => {
        const bytes = bytesOf(Math.max(1, plan.sizeBytes), 7);
        const lies = Buffer.from(bytes);
        lies[at % lies.length] = (lies[at % lies.length] ?? 0) ^ 0xff;
        const { visits, source, kept } = await play({ ...plan, sizeBytes: bytes.length }, bytes, lies);
        for (const [visit, { start }] of visits) {
          expect(visit.end).not.toBe('whole');
          expect(start + visit.got.length).toBeLessThanOrEqual(Math.max(start, bytes.length - TAIL));
        }
        expect(source.leaked).toBe(0);
        expect(kept).toBe(false);
      }),
      { numRuns: 100 },
    );
  });
});

/** Found once in some hundred runs: the only reader leaves at once, and the source takes longer than the grace. */
const LEFT_ALONE_WITHOUT_ROOM: World = {
  sizeBytes: 96_001,
  knowsSize: true,
  saysSize: false,
  roomy: false,
  turns: [{ chunkBytes: 1000, cutAfter: undefined, stallMs: 31, ignoresRange: false, refused: false }],
  visitors: [{ start: 0, joinsAtMs: 0, bufferBytes: 500, restsMs: 0, leavesAfter: 0 }],
  stopsAtMs: undefined,
};

/** Plays a plan to its end on a clock that runs as fast as it can. */
async function play(plan: World, bytes: Buffer, sent: Buffer) {
  const source = new ScriptedSource(answers(plan, sent));
  // Without room there is space for the unfinished part of a blob at most.
  const store = await startedStore(plan.roomy ? 64 * MIB : Math.floor(bytes.length / 2));
  const running = await runIngest(bytes, [source], {
    store,
    sizeBytes: plan.knowsSize ? bytes.length : undefined,
  });
  const { ingest, ended } = running;
  let over = false;
  const visiting = Promise.all(
    plan.visitors.map(async (visitor): Promise<[Visit, { start: number }]> => {
      const start = Math.min(visitor.start, bytes.length);
      await sleep(visitor.joinsAtMs);
      if (over) return [{ got: Buffer.alloc(0), end: 'late' }, { start }];
      const origin = { registry: 'docker.io', repository: 'library/one' };
      const reader = ingest.join(origin, start, { first: false, promisedBytes: undefined });
      if (reader === undefined) return [{ got: Buffer.alloc(0), end: 'gone' }, { start }];
      return [await visit(reader, start, visitor), { start }];
    }),
  );
  if (plan.stopsAtMs !== undefined) {
    setTimeout(() => ingest.stop(new WindlassError('STOPPING', 'enough')), plan.stopsAtMs);
  }
  const all = Promise.all([
    ended.then((end) => {
      over = true;
      return end;
    }),
    visiting,
  ]);
  let done = false;
  all.finally(() => {
    done = true;
  });
  for (let i = 0; i < 2_000 && !done; i++) await vi.advanceTimersByTimeAsync(i < 1_000 ? 5 : 1_000);
  expect(done).toBe(true);
  const [end, visits] = await all;
  return { visits, source, state: end.state, kept: store.stat(ingest.digest) !== undefined };
}

/** Turn after turn; when all are used up, the last ones again without faults. */
function answers(plan: World, sent: Buffer): Answer {
  return async ({ offset, signal, index }) => {
    const turn = plan.turns[index];
    const { chunkBytes, cutAfter, stallMs, ignoresRange, refused } = turn ?? {
      ...(plan.turns[0] as Turn),
      cutAfter: undefined,
      refused: false,
    };
    if (refused) throw new WindlassError('UPSTREAM_UNAVAILABLE', 'scripted');
    const from = ignoresRange ? 0 : offset;
    const body = new ScriptedBody(signal);
    const isCut = cutAfter !== undefined && from + cutAfter < sent.length;
    void (async () => {
      for (const chunk of chunksOf(sent.subarray(from, isCut ? from + cutAfter : undefined), chunkBytes)) {
        await sleep(stallMs);
        body.push(chunk);
      }
      if (isCut) body.fail(new WindlassError('UPSTREAM_UNAVAILABLE', 'cut'));
      else body.end();
    })();
    return { offset: from, sizeBytes: plan.saysSize ? sent.length : undefined, body };
  };
}

async function visit(reader: BlobReader, start: number, visitor: Visitor): Promise<Visit> {
  const { bufferBytes, restsMs, leavesAfter = Number.POSITIVE_INFINITY } = visitor;
  const got: Buffer[] = [];
  let position = start;
  const signal = new AbortController().signal;
  try {
    while (position - start < leavesAfter) {
      if (!(await reader.wait(position, signal))) return { got: Buffer.concat(got), end: 'whole' };
      const buffer = Buffer.alloc(bufferBytes);
      const count = await reader.read(buffer, position);
      expect(count).toBeGreaterThan(0);
      got.push(buffer.subarray(0, count));
      position += count;
      if (restsMs > 0) await sleep(restsMs);
    }
    return { got: Buffer.concat(got), end: 'left' };
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    return { got: Buffer.concat(got), end: 'failed' };
  } finally {
    reader.close();
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
