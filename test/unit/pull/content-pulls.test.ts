import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { Blobs } from '../../../src/pull/blobs.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';
import { Manifests } from '../../../src/pull/manifests.ts';
import { PieceProofs } from '../../../src/pull/piece-proofs.ts';
import type { Swarm } from '../../../src/pull/swarm.ts';
import type { Member } from '../../../src/routing/member.ts';
import { buildImage, seededBytes } from '../../support/image.ts';
import { ContentFixture } from './content-fixture.ts';
import {
  failOnUnhandledRejections,
  failureOf,
  forever,
  keep,
  logger,
  MIB,
  ORIGIN,
  readAll,
  scriptedRegistries,
  startedStore,
} from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

failOnUnhandledRejections();

const BYTES = seededBytes('blob', 2 * MIB + 1);
const DIGEST = digestOf(BYTES);
const START = { start: 0, end: undefined };

/** What asks containerd's content, then an upstream that has the blob. */
async function setUp(content: ContentFixture, swarm?: Swarm) {
  const store = await startedStore();
  const asked = { gets: 0 };
  const registries = scriptedRegistries({
    getBlob: async (_repository, _digest, { offset = 0 }) => {
      asked.gets += 1;
      return { sizeBytes: BYTES.length, offset, body: chunks(BYTES.subarray(offset)) };
    },
  });
  const shared = {
    store,
    registries,
    content: content.blobs,
    descriptors: new Descriptors(),
    logger,
    metrics: new Metrics(),
  };
  const blobs = new Blobs({ ...shared, ...(swarm && { swarm }), finishLimitBytes: 1024 * MIB });
  return { store, asked, blobs, manifests: new Manifests(shared) };
}

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

test('a blob that containerd holds is served without an ingest, by HEAD and GET alike', async () => {
  await using content = await ContentFixture.create();
  await content.add(BYTES);
  const { blobs, asked, store } = await setUp(content);
  expect(await blobs.head(ORIGIN, DIGEST, forever)).toEqual({ sizeBytes: BYTES.length, source: 'content' });
  const reader = await blobs.open(ORIGIN, DIGEST, START, forever);
  expect(reader.source).toBe('content');
  expect((await readAll(reader)).equals(BYTES)).toBe(true);
  expect([asked.gets, blobs.running(), [...store.list()]]).toEqual([0, [], []]);
});

test('one that was collected is fetched, once however many ask', async () => {
  await using content = await ContentFixture.create();
  await content.collect(await content.add(BYTES));
  const { blobs, asked } = await setUp(content);
  const all = await Promise.all(
    Array.from({ length: 20 }, async () => readAll(await blobs.open(ORIGIN, DIGEST, START, forever))),
  );
  expect(all.every((bytes) => bytes.equals(BYTES))).toBe(true);
  expect(asked.gets).toBe(1);
});

test('one that is damaged fails its reader before the end, and the next one gets it from upstream', async () => {
  await using content = await ContentFixture.create();
  const path = content.pathOf(await content.add(BYTES));
  const bytes = await readFile(path);
  bytes.fill(0, 0, 100);
  await writeFile(path, bytes);
  const { blobs } = await setUp(content);
  const first = await blobs.open(ORIGIN, DIGEST, START, forever);
  expect(await failureOf(readAll(first))).toMatchObject({ code: 'DIGEST_MISMATCH' });
  const next = await blobs.open(ORIGIN, DIGEST, START, forever);
  expect((await readAll(next)).equals(BYTES)).toBe(true);
});

test('other agents get it too, in whole pieces until it is checked', async () => {
  await using content = await ContentFixture.create();
  await content.add(BYTES);
  const { blobs } = await setUp(content);
  const opened = await blobs.openForPeer(DIGEST, 0, forever);
  expect([opened?.reader.available, opened?.ingest]).toEqual([2 * MIB, undefined]);
  expect((await readAll(opened?.reader ?? expect.fail('not offered'))).equals(BYTES)).toBe(true);
  await content.collect(DIGEST);
  expect(await blobs.openForPeer(DIGEST, 0, forever)).toBeUndefined();
});

test('a drop hides it', async () => {
  await using content = await ContentFixture.create();
  await content.add(BYTES);
  const { blobs } = await setUp(content);
  expect([await blobs.purge(DIGEST), await blobs.purge(DIGEST)]).toEqual([true, false]);
  expect(await blobs.openForPeer(DIGEST, 0, forever)).toBeUndefined();
});

test('a drop takes a manifest out of memory too, also while it is being read', async () => {
  await using content = await ContentFixture.create();
  const { manifest } = buildImage({ seed: 'content' });
  await content.add(manifest.bytes);
  const { manifests, blobs } = await setUp(content);
  await manifests.get(ORIGIN, manifest.digest, forever);
  await blobs.purge(manifest.digest);
  expect(await manifests.held(ORIGIN, manifest.digest)).toBeUndefined();

  content.forget(manifest.digest);
  await content.add(manifest.bytes);
  const reading = failureOf(manifests.get(ORIGIN, manifest.digest, forever));
  await blobs.purge(manifest.digest);
  expect(await reading).toMatchObject({ code: 'NOT_FOUND' });
  expect(await manifests.held(ORIGIN, manifest.digest)).toBeUndefined();
});

test('what nobody can decide yet is no lie to another agent, and fetched for a client', async () => {
  const limited = async () => Promise.reject(new WindlassError('UPSTREAM_RATE_LIMITED', 'later'));
  await using content = await ContentFixture.create(scriptedRegistries({ headBlob: limited, headManifest: limited }));
  await content.add(BYTES);
  const { blobs, asked } = await setUp(content);
  expect(await failureOf(blobs.openForPeer(DIGEST, 0, forever))).toMatchObject({ code: 'PEER_BUSY' });
  const reader = await blobs.open(ORIGIN, DIGEST, START, forever);
  expect((await readAll(reader)).equals(BYTES)).toBe(true);
  expect(asked.gets).toBe(1);
});

test('HEAD looks for the blob again when it has waited for containerd', async () => {
  const decided = Promise.withResolvers<{ sizeBytes: number }>();
  const begun = Promise.withResolvers<void>();
  await using content = await ContentFixture.create(
    scriptedRegistries({
      headBlob: () => {
        begun.resolve();
        return decided.promise;
      },
    }),
  );
  await content.collect(await content.add(BYTES));
  const { blobs, store } = await setUp(content);
  const head = blobs.head(ORIGIN, DIGEST, forever);
  await begun.promise;
  await keep(store, BYTES);
  decided.resolve({ sizeBytes: 1 });
  expect(await head).toEqual({ sizeBytes: BYTES.length, source: 'store' });
});

test('what was vouched for of a damaged file is forgotten', async () => {
  await using content = await ContentFixture.create();
  const path = content.pathOf(await content.add(BYTES));
  const self = { peerId: 'self' } as Member;
  const key = { sign: () => new Uint8Array(64), verify: () => true };
  const proofs = new PieceProofs({ self, get: () => self }, key);
  const { blobs } = await setUp(content, { proofs, self: 'self' } as unknown as Swarm);
  await proofs.of(DIGEST, 0, new Uint8Array(MIB), { vouch: true });
  await writeFile(path, seededBytes('other', BYTES.length));
  const opened = await blobs.openForPeer(DIGEST, 0, forever);
  expect(proofs.signerOf(DIGEST, 0)).toBe('self');
  await failureOf(readAll(opened?.reader ?? expect.fail('not offered')));
  expect(proofs.signerOf(DIGEST, 0)).toBeUndefined();
});

test('a manifest that containerd holds is served from there', async () => {
  await using content = await ContentFixture.create();
  const { manifest, config } = buildImage({ seed: 'content' });
  await Promise.all([content.add(manifest.bytes), content.add(config.bytes)]);
  const { manifests } = await setUp(content);
  const served = await manifests.get(ORIGIN, manifest.digest, forever);
  expect([served.source, served.mediaType, Buffer.compare(served.bytes, manifest.bytes)]).toEqual([
    'content',
    manifest.mediaType,
    0,
  ]);
  // From memory, now.
  expect((await manifests.get(ORIGIN, manifest.digest, forever)).source).toBe('store');
  // A config is no manifest, whoever asks for it as one.
  expect(await failureOf(manifests.get(ORIGIN, config.digest, forever))).toMatchObject({ code: 'NOT_FOUND' });
});
