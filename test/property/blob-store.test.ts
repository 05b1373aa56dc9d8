import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import type { BlobStore, BlobWriter, OpenBlob } from '../../src/store/blob-store.ts';
import { DiskBlobStore } from '../../src/store/disk-blob-store.ts';
import { MemoryBlobStore } from '../../src/store/memory-blob-store.ts';
import { readAll } from '../conformance/blob-store.ts';
import { filesOf } from '../support/store-files.ts';

const MAX_BYTES = 400_000;
/** Small ones and such as are hashed by the thread; together more than there is room for. */
const CONTENTS = [0, 1, 70_000, 90_000, 120_000, 150_000, 180_000].map((sizeBytes) => randomBytes(sizeBytes));
const DIGESTS = CONTENTS.map((bytes) => parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`));

/**
 * What must be true of a store, from the outside: a blob is held from its commit on until the store says that it was
 * removed, what is pinned is never evicted, and the figures are sums. What the store evicts is its choice; the model
 * learns it from the events, and checks that it was allowed to.
 */
class Model {
  readonly held = new Map<Digest, number>();
  /** What unfinished writers left: there at most, for the store may evict them without a word. */
  readonly partials = new Map<Digest, number>();
  readonly writers = new Map<Digest, Writing>();
  readonly readers: { readonly blob: OpenBlob; readonly bytes: Buffer; pins: boolean }[] = [];

  isPinned(digest: Digest): boolean {
    return this.readers.some(({ blob, pins }) => pins && blob.digest === digest) || !!this.writers.get(digest)?.pins;
  }

  /** Who has the blob open now keeps that one; a later one of the same digest is not theirs. */
  unpin(digest: Digest): void {
    for (const reader of this.readers) if (reader.blob.digest === digest) reader.pins = false;
    const writing = this.writers.get(digest);
    if (writing !== undefined) writing.pins = false;
  }
}

interface Writing {
  readonly writer: BlobWriter;
  readonly sizeBytes: number | undefined;
  /** Committed, but not closed. */
  ended: boolean;
  pins: boolean;
}

interface Real {
  store: BlobStore;
  readonly faults: string[];
  restart(): Promise<void>;
}

type Act = { readonly kind: string; readonly which: number; readonly amount: number; readonly flag: boolean };

const ACTS = ['create', 'write', 'finish', 'commit', 'cancel', 'open', 'close', 'delete', 'restart'];

async function run(act: Act, model: Model, real: Real): Promise<void> {
  const index = act.which % CONTENTS.length;
  const digest = DIGESTS[index] as Digest;
  const bytes = CONTENTS[index] as Buffer;
  const { store } = real;
  const writing = model.writers.get(digest);
  if (act.kind === 'create') {
    if (writing !== undefined) {
      if (!writing.ended) await expect(store.create(digest)).rejects.toThrow(/already/);
      return;
    }
    const sizeBytes = act.flag ? bytes.length : undefined;
    const fresh = act.amount % 5 === 0;
    const before = model.partials.get(digest) ?? 0;
    const writer = await store.create(digest, { sizeBytes, fresh });
    expect(fresh ? [0] : [0, before]).toContain(writer.written);
    model.partials.delete(digest);
    model.writers.set(digest, { writer, sizeBytes, ended: false, pins: false });
  } else if (act.kind === 'write' && writing !== undefined && !writing.ended) {
    const { writer } = writing;
    const at = writer.written;
    const part = bytes.subarray(at, at + act.amount);
    const middle = Math.floor(part.length / 3);
    await writer.write([part.subarray(0, middle), part.subarray(middle)]);
    expect(writer.written).toBe(at + part.length);
    const floor = writer.kept ? 0 : writer.floor;
    expect((await readAll(writer, floor)).equals(bytes.subarray(floor, writer.written))).toBe(true);
    if (act.flag && !writer.kept) writer.discard(at);
  } else if ((act.kind === 'finish' || act.kind === 'commit') && writing !== undefined && !writing.ended) {
    const { writer } = writing;
    if (act.kind === 'finish') await writer.write([bytes.subarray(writer.written)]);
    if (writer.written < bytes.length) {
      await expect(writer.verify()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      await writer.cancel({ keep: true });
      await writer.close();
      model.writers.delete(digest);
      return;
    }
    await writer.verify();
    const kept = writer.kept;
    await writer.commit();
    if (kept) {
      model.unpin(digest);
      model.held.set(digest, bytes.length);
    }
    writing.ended = kept;
    writing.pins = kept;
    if (act.flag || !kept) {
      await writer.close();
      model.writers.delete(digest);
    }
  } else if (act.kind === 'cancel' && writing !== undefined) {
    const { writer, ended } = writing;
    const keeps = act.flag && writer.kept && !ended && writer.written > 0;
    const { written } = writer;
    await writer.cancel({ keep: act.flag });
    await writer.close();
    model.writers.delete(digest);
    if (keeps) model.partials.set(digest, written);
  } else if (act.kind === 'open') {
    const blob = await store.open(digest);
    expect(blob !== undefined).toBe(model.held.has(digest));
    if (blob !== undefined) {
      expect((await readAll(blob)).equals(bytes)).toBe(true);
      model.readers.push({ blob, bytes, pins: true });
    }
  } else if (act.kind === 'close') {
    const reader = model.readers.splice(act.which % Math.max(1, model.readers.length), 1)[0];
    // However long it was open, and whatever was done to its blob: it reads the same.
    if (reader !== undefined) {
      expect((await readAll(reader.blob)).equals(reader.bytes)).toBe(true);
      await reader.blob.close();
    }
  } else if (act.kind === 'delete') {
    const had = model.held.has(digest);
    expect(await store.delete(digest)).toBe(had);
    expect(model.held.has(digest)).toBe(false);
  } else if (act.kind === 'restart') {
    for (const { blob } of model.readers.splice(0)) await blob.close();
    for (const [open, { writer, ended }] of model.writers) {
      if (writer.kept && !ended && writer.written > 0) model.partials.set(open, writer.written);
      await writer.close();
    }
    model.writers.clear();
    await real.restart();
  }
}

function check(model: Model, { store, faults }: Real): void {
  expect(faults).toEqual([]);
  const listed = new Map([...store.list()].map(({ digest, sizeBytes }) => [digest, sizeBytes]));
  expect(listed).toEqual(model.held);
  const { blobs, blobBytes, ingestBytes, maxBytes } = store.stats();
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  expect(blobs).toBe(model.held.size);
  expect(blobBytes).toBe(sum(model.held.values()));
  expect(blobBytes + ingestBytes).toBeLessThanOrEqual(maxBytes);
  // Reservations are known exactly where the size is; else at least what was written.
  let least = 0;
  for (const { writer, sizeBytes, ended } of model.writers.values()) {
    if (!ended) least += writer.kept ? Math.max(sizeBytes ?? 0, writer.written) : 0;
  }
  expect(ingestBytes).toBeGreaterThanOrEqual(least);
  if (model.writers.size === 0) expect(sumsOf([...model.partials.values()])).toContain(ingestBytes);
}

function watch(store: BlobStore, model: Model, faults: string[]): void {
  store.subscribe((event) => {
    if (event.type !== 'removed') return;
    if (event.reason === 'evicted' && model.isPinned(event.digest)) faults.push(`evicted while open: ${event.digest}`);
    if (event.reason === 'corrupt') faults.push(`corrupt: ${event.digest}`);
    model.held.delete(event.digest);
    model.unpin(event.digest);
  });
}

/** Of all choices among some numbers. */
function sumsOf(numbers: readonly number[]): number[] {
  return numbers.reduce<number[]>((sums, number) => sums.concat(sums.map((sum) => sum + number)), [0]);
}

const acts = fc.array(
  fc.record({
    kind: fc.constantFrom(...ACTS),
    which: fc.nat(1000),
    amount: fc.oneof(fc.nat(300), fc.nat(200_000)),
    flag: fc.boolean(),
  }),
  { minLength: 10, maxLength: 60 },
);

describe('any order of calls', () => {
  it('keeps the memory store what the model says', async () => {
    await fc.assert(
      fc.asyncProperty(acts, async (steps) => {
        const model = new Model();
        const faults: string[] = [];
        const store = new MemoryBlobStore({ maxBytes: MAX_BYTES });
        await store.start();
        watch(store, model, faults);
        const real: Real = { store, faults, restart: async () => undefined };
        for (const step of steps) {
          await run(step, model, real);
          check(model, real);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps the disk store what the model says, and the disk what the store says, across restarts', async () => {
    const logger = pino({ level: 'silent' });
    await fc.assert(
      fc.asyncProperty(acts, async (steps) => {
        const path = await mkdtemp(join(tmpdir(), 'windlass-store-'));
        const model = new Model();
        const faults: string[] = [];
        const opened = async () => {
          const store = new DiskBlobStore({ path, maxBytes: MAX_BYTES, logger });
          await store.start();
          watch(store, model, faults);
          return store;
        };
        const real: Real = {
          store: await opened(),
          faults,
          restart: async () => {
            const before = real.store.stats();
            await real.store.stop();
            const { blobs, blobBytes, ingestBytes, wrong } = await filesOf(path);
            expect({ blobs, blobBytes, ingestBytes, wrong }).toEqual({
              blobs: before.blobs,
              blobBytes: before.blobBytes,
              ingestBytes: before.ingestBytes,
              wrong: [],
            });
            real.store = await opened();
            expect(real.store.stats()).toEqual(before);
          },
        };
        try {
          for (const step of steps) {
            await run(step, model, real);
            check(model, real);
          }
          await run({ kind: 'restart', which: 0, amount: 0, flag: false }, model, real);
          check(model, real);
        } finally {
          await real.store.stop();
          await rm(path, { recursive: true });
        }
      }),
      { numRuns: 25 },
    );
  });
});
