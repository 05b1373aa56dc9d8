import { readFile, truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { Metrics } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { BlobReader } from '../../../src/pull/blob-reader.ts';
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
} from './pull-fixture.ts';

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

/** What of it is told to be gone. */
function goneOf(fixture: ContentFixture): Digest[] {
  const gone: Digest[] = [];
  fixture.blobs.subscribe(({ removed }) => gone.push(...removed));
  return gone;
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
  const gone = goneOf(fixture);
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
  const gone = goneOf(fixture);
  const reader = await opened(fixture, digest);
  await fixture.collect(digest);
  expect(await open(fixture, digest)).toBeUndefined();
  expect(gone).toEqual([digest]);
  expect((await readAll(reader)).equals(LARGE)).toBe(true);
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

test('what came from a closed repository is not served, nor told to others any more', async () => {
  const refused = async () => {
    throw new WindlassError('UPSTREAM_UNAUTHORIZED', 'no');
  };
  await using fixture = await ContentFixture.create(scriptedRegistries({ headBlob: refused, headManifest: refused }));
  const gone = goneOf(fixture);
  const [one, two] = [await fixture.add(SMALL), await fixture.add(LARGE)];
  const elsewhere = await fixture.add(seededBytes('elsewhere', 10), { source: OTHER });
  expect(await open(fixture, one)).toBeUndefined();
  expect(gone.sort()).toEqual([one, two].sort());
  expect([...fixture.blobs.entries()].map(([digest]) => digest)).toEqual([elsewhere]);
});

test('a manifest is given whole and checked, or not at all', async () => {
  await using fixture = await ContentFixture.create();
  const digest = await fixture.add(SMALL);
  expect(await fixture.blobs.bytes(digest, SMALL.length - 1, forever)).toBeUndefined();
  expect(Buffer.compare((await fixture.blobs.bytes(digest, SMALL.length, forever)) ?? LARGE, SMALL)).toBe(0);
  await damage(fixture, digest);
  expect(await fixture.blobs.bytes(digest, SMALL.length, forever)).toBeUndefined();
});
