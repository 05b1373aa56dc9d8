import { readdir, readFile, readlink, rename, truncate, writeFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { Metrics } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { BlobReader } from '../../../src/pull/blob-reader.ts';
import { eventually } from '../../support/eventually.ts';
import { seededBytes } from '../../support/image.ts';
import { ContentFixture } from './content-fixture.ts';
import {
  failOnUnhandledRejections,
  failureOf,
  forever,
  MIB,
  OTHER,
  readAll,
  scriptedRegistries,
  useFakeClock,
} from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

failOnUnhandledRejections();

const SMALL = seededBytes('small', 70_000);
const LARGE = seededBytes('large', 3 * MIB + 5);

function open(fixture: ContentFixture, digest: Digest): Promise<BlobReader | undefined> {
  return fixture.blobs.open(digest, forever);
}

async function opened(fixture: ContentFixture, digest: Digest): Promise<BlobReader> {
  const reader = await open(fixture, digest);
  if (reader === undefined) throw new Error('not held');
  return reader;
}

/** Flips a bit of the first byte. */
async function damage(fixture: ContentFixture, digest: Digest): Promise<void> {
  const bytes = await readFile(fixture.pathOf(digest));
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1);
  await writeFile(fixture.pathOf(digest), bytes);
}

async function failures(metrics: Metrics): Promise<number | undefined> {
  const { values } = await metrics.verificationFailures.get();
  return values.find(({ labels }) => labels.source === 'content')?.value;
}

/** What is told to be there, and to be gone, from now on. */
function toldBy(fixture: ContentFixture): { added: Digest[]; removed: Digest[] } {
  const told: { added: Digest[]; removed: Digest[] } = { added: [], removed: [] };
  fixture.blobs.subscribe(({ added, removed }) => {
    told.added.push(...added);
    told.removed.push(...removed);
  });
  return told;
}

test('its bytes are read from the file, from any position', async () => {
  await using fixture = await ContentFixture.create();
  for (const bytes of [SMALL, LARGE, Buffer.alloc(0)]) {
    const digest = await fixture.add(bytes);
    expect((await readAll(await opened(fixture, digest))).equals(bytes)).toBe(true);
  }
  const digest = await fixture.add(LARGE);
  const reader = await opened(fixture, digest);
  expect([reader.source, reader.sizeBytes]).toEqual(['content', LARGE.length]);
  expect((await readAll(reader, { position: LARGE.length - 10 })).equals(LARGE.subarray(-10))).toBe(true);
});

test('the last piece is held back until the digest is checked; once in a while that is enough', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(LARGE);
  const first = await opened(fixture, digest);
  expect(first.available).toBe(3 * MIB);
  expect(await first.wait(LARGE.length, forever)).toBe(false);
  expect(first.available).toBe(LARGE.length);
  const second = await opened(fixture, digest);
  expect(second.available).toBe(LARGE.length);
  first.close();
  second.close();
});

test('of a large blob that is damaged the last piece never comes, and it is served no more', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(LARGE);
  await damage(fixture, digest);
  const { removed: gone } = toldBy(fixture);
  const got: Buffer[] = [];
  const readers = await Promise.all([opened(fixture, digest), opened(fixture, digest)]);
  for (const reader of readers) {
    expect(await failureOf(readAll(reader, { got }))).toMatchObject({ code: 'DIGEST_MISMATCH' });
  }
  expect(Buffer.concat(got).length).toBeLessThanOrEqual(2 * 3 * MIB);
  expect(await open(fixture, digest)).toBeUndefined();
  expect([gone, await failures(fixture.metrics)]).toEqual([[digest], 1]);
});

test('of a small one nothing is promised: it is not there', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  await damage(fixture, digest);
  expect(await open(fixture, digest)).toBeUndefined();
  expect([fixture.blobs.get(digest), await failures(fixture.metrics)]).toEqual([undefined, 1]);
});

test('neither is one of another length; one that is cut short while it is read fails its reader', async () => {
  await using fixture = await ContentFixture.create();
  const shorter = await fixture.add(SMALL);
  await truncate(fixture.pathOf(shorter), 10);
  expect(await open(fixture, shorter)).toBeUndefined();

  const digest = await fixture.add(LARGE);
  const whole = await opened(fixture, digest);
  await whole.wait(LARGE.length, forever);
  await truncate(fixture.pathOf(digest), 10);
  expect(await failureOf(readAll(whole, { position: 20 }))).toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(await open(fixture, digest)).toBeUndefined();
});

test('one whose file was replaced is checked again', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  await readAll(await opened(fixture, digest));
  await damage(fixture, digest);
  expect(await open(fixture, digest)).toBeUndefined();
});

test('a file that was collected is not there, and told to be gone; who reads it goes on', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(LARGE);
  const { removed: gone } = toldBy(fixture);
  const reader = await opened(fixture, digest);
  await fixture.collect(digest);
  expect(await open(fixture, digest)).toBeUndefined();
  expect(gone).toEqual([digest]);
  expect((await readAll(reader)).equals(LARGE)).toBe(true);
});

test('what was collected before it is told of is not told of', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  fixture.forget(digest);
  const told = toldBy(fixture);
  fixture.tellLate(digest);
  expect(told).toEqual({ added: [], removed: [] });
});

test('what was dropped is offered no more, until containerd has deleted it', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  expect([fixture.blobs.refuse(digest), fixture.blobs.refuse(digest)]).toEqual([true, false]);
  expect([await open(fixture, digest), [...fixture.blobs.entries()]]).toEqual([undefined, []]);
  fixture.forget(digest);
  await fixture.add(SMALL);
  expect(fixture.blobs.get(digest)).toBeDefined();
});

test('a drop is remembered before it is known that containerd has it', async () => {
  await using fixture = await ContentFixture.create();
  const told = toldBy(fixture);
  expect(fixture.blobs.refuse(digestOf(SMALL))).toBe(false);
  const digest = await fixture.add(SMALL);
  expect([await open(fixture, digest), told.added]).toEqual([undefined, []]);
});

test('what came from a closed repository is not served, nor told to others, until it is open again', async () => {
  useFakeClock();
  const answers = { refuse: true };
  const head = async () => {
    if (answers.refuse) throw new WindlassError('UPSTREAM_UNAUTHORIZED', 'no');
    return { sizeBytes: 1 };
  };
  const headManifest = async () => Promise.reject(new WindlassError('UPSTREAM_UNAUTHORIZED', 'no'));
  await using fixture = await ContentFixture.create(scriptedRegistries({ headBlob: head, headManifest }));
  const [one, two] = [await fixture.add(SMALL), await fixture.add(LARGE)];
  const elsewhere = await fixture.add(seededBytes('elsewhere', 10), { source: OTHER });
  const told = toldBy(fixture);
  expect(await open(fixture, one)).toBeUndefined();
  expect(told.removed.sort()).toEqual([one, two].sort());
  expect([...fixture.blobs.entries()].map(([digest]) => digest)).toEqual([elsewhere]);

  answers.refuse = false;
  vi.advanceTimersByTime(2 * 3_600_000);
  await readAll(await opened(fixture, one));
  expect(told.added.sort()).toEqual([one, two].sort());
  expect(fixture.blobs.get(two)).toBeDefined();
});

test('what a registry does not have hides that digest alone', async () => {
  await using fixture = await ContentFixture.create(
    scriptedRegistries({
      headBlob: async (_repository, digest) => {
        if (digest !== digestOf(LARGE)) throw new WindlassError('NOT_FOUND', digest);
        return { sizeBytes: 1 };
      },
    }),
  );
  const [missing, there] = [await fixture.add(SMALL), await fixture.add(LARGE)];
  const told = toldBy(fixture);
  expect(await open(fixture, missing)).toBeUndefined();
  (await opened(fixture, there)).close();
  expect(told).toEqual({ added: [], removed: [missing] });
});

test('what came from no registry of the list is told to nobody', async () => {
  await using fixture = await ContentFixture.create();
  const told = toldBy(fixture);
  const digest = await fixture.add(SMALL, { source: { registry: 'denied.example', repository: 'a' } });
  expect([told.added, fixture.blobs.get(digest), await open(fixture, digest)]).toEqual([[], undefined, undefined]);
});

test('while its registry does not say who may have it, we are busy: it is not missing', async () => {
  const limited = async () => Promise.reject(new WindlassError('UPSTREAM_RATE_LIMITED', 'later'));
  await using fixture = await ContentFixture.create(scriptedRegistries({ headBlob: limited, headManifest: limited }));
  const digest = await fixture.add(SMALL);
  expect(await failureOf(open(fixture, digest))).toMatchObject({ code: 'PEER_BUSY' });
  expect(await fixture.blobs.openSoon(digest, forever)).toBeUndefined();
  expect(await fixture.blobs.statSoon(digest, forever)).toBeUndefined();
  expect(fixture.blobs.get(digest)).toBeDefined();
});

test('however many read a file, it is open once', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(LARGE);
  const descriptors = async () => {
    const fds = await readdir('/proc/self/fd');
    const paths = await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
    return paths.filter((path) => path.startsWith(fixture.pathOf(digest))).length;
  };
  const readers = await Promise.all(Array.from({ length: 50 }, () => opened(fixture, digest)));
  expect(await descriptors()).toBe(1);
  await fixture.collect(digest);
  await fixture.add(LARGE);
  const other = await opened(fixture, digest);
  expect(await descriptors()).toBe(2);
  for (const reader of [...readers, other]) reader.close();
  await eventually(async () => (await descriptors()) === 0);
});

test('only so many are checked at once: of others the size is told, and small ones are read', async () => {
  await using fixture = await ContentFixture.create();
  const endless = await Promise.all(Array.from({ length: 8 }, (_, index) => fixture.addEndless(`${index}`)));
  const readers = await Promise.all(endless.map((digest) => opened(fixture, digest)));
  const [large, small] = [await fixture.add(LARGE), await fixture.add(SMALL)];
  expect(await failureOf(open(fixture, large))).toMatchObject({ code: 'PEER_BUSY' });
  expect(await fixture.blobs.openSoon(large, forever)).toBeUndefined();
  expect(await fixture.blobs.statSoon(large, forever)).toBe(LARGE.length);
  // Hashed by itself: exactly what is given away.
  expect(await fixture.blobs.bytes(small, SMALL.length, forever)).toHaveLength(SMALL.length);
  for (const reader of readers) reader.close();
});

test('one that cannot be read is not here, whatever the system says', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.addUnreadable('a folder');
  expect(await open(fixture, digest)).toBeUndefined();
  expect(await fixture.blobs.statSoon(digest, forever)).toBeUndefined();
  expect(await fixture.blobs.bytes(digest, 4 * MIB, forever)).toBeUndefined();
});

test('one that the disk cannot give back is damaged', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  const reader = await opened(fixture, digest);
  if (reader.extent?.file === undefined) throw new Error('no file');
  reader.extent.file.read = () => Promise.reject(Object.assign(new Error('i/o error'), { code: 'EIO' }));
  expect(await failureOf(readAll(reader))).toMatchObject({ code: 'EIO' });
  expect([await open(fixture, digest), await failures(fixture.metrics)]).toEqual([undefined, 1]);
});

test('it is sound if a registry opened it, and its bytes are right', async () => {
  const answers = { down: true };
  await using fixture = await ContentFixture.create(
    scriptedRegistries({
      headBlob: async () => {
        if (answers.down) throw new WindlassError('UPSTREAM_UNAVAILABLE', 'down', { registryDown: true });
        return { sizeBytes: 1 };
      },
    }),
  );
  useFakeClock();
  const [right, wrong] = [await fixture.add(LARGE), await fixture.add(SMALL)];
  await damage(fixture, wrong);
  const isSound = (digest: Digest) => fixture.blobs.isSound(digest, forever);
  // It is shared, as the settings have it, but may be closed for all that is known.
  expect([(await opened(fixture, right)).source, await isSound(right)]).toEqual(['content', false]);
  answers.down = false;
  vi.advanceTimersByTime(60_000);
  expect([await isSound(right), await isSound(wrong)]).toEqual([true, false]);
});

test('a reader that leaves while it is checked is told so', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  const left = new AbortController();
  const opening = fixture.blobs.open(digest, left.signal);
  left.abort(new Error('left'));
  expect(await failureOf(opening)).toMatchObject({ message: 'left' });
});

test('a damaged file is looked at anew when it was replaced', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  await damage(fixture, digest);
  const told = toldBy(fixture);
  expect(await open(fixture, digest)).toBeUndefined();
  await writeFile(`${fixture.pathOf(digest)}.new`, SMALL);
  await rename(`${fixture.pathOf(digest)}.new`, fixture.pathOf(digest));
  expect((await readAll(await opened(fixture, digest))).equals(SMALL)).toBe(true);
  expect(told).toEqual({ added: [digest], removed: [digest] });
});

test('a manifest is given whole and checked, or not at all', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  expect(await fixture.blobs.bytes(digest, SMALL.length - 1, forever)).toBeUndefined();
  expect(Buffer.compare((await fixture.blobs.bytes(digest, SMALL.length, forever)) ?? LARGE, SMALL)).toBe(0);
  await damage(fixture, digest);
  expect(await fixture.blobs.bytes(digest, SMALL.length, forever)).toBeUndefined();
});
