import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Digest, type DigestAlgorithm, parseDigest } from '../../src/oci/digest.ts';
import type { BlobStore, BlobWriter, Extent, StoreEvent } from '../../src/store/blob-store.ts';

export interface BlobStoreFactory {
  /** A started, empty store of that size. Called once a test. */
  setup(options: { readonly maxBytes: number }): Promise<BlobStore>;
  /** Called after each test; the store may have been stopped already. */
  teardown(store: BlobStore): Promise<void>;
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`);
}

export async function readAll(extent: Extent, from = 0): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let position = from; ; ) {
    const buffer = Buffer.alloc(1000);
    const count = await extent.read(buffer, position);
    if (count === 0) return Buffer.concat(parts);
    parts.push(buffer.subarray(0, count));
    position += count;
  }
}

/** Writes a blob as the pull room does: create, write, verify, commit, close. */
export async function put(store: BlobStore, bytes: Uint8Array, digest = digestOf(bytes)): Promise<Digest> {
  const writer = await store.create(digest, { sizeBytes: bytes.byteLength });
  await writer.write([bytes]);
  await finish(writer);
  return digest;
}

export async function finish(writer: BlobWriter): Promise<void> {
  await writer.verify();
  await writer.commit();
  await writer.close();
}

export async function contentOf(store: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const blob = await store.open(digest);
  if (blob === undefined) return undefined;
  try {
    return await readAll(blob);
  } finally {
    await blob.close();
  }
}

const KIB = 1024;

/** The rules of BlobStore, whatever it is made of. */
export function blobStoreConformance(name: string, factory: BlobStoreFactory): void {
  describe(name, () => {
    const maxBytes = 1024 * KIB;
    let store: BlobStore;
    let events: StoreEvent[];

    beforeEach(async () => {
      store = await factory.setup({ maxBytes });
      events = [];
      store.subscribe((event) => events.push(event));
    });
    afterEach(async () => {
      await factory.teardown(store);
    });

    const digests = () => [...store.list()].map(({ digest }) => digest);

    describe('committing', () => {
      it('shows a blob only once it is committed, and then with its bytes', async () => {
        const bytes = randomBytes(200 * KIB);
        const digest = digestOf(bytes);
        const writer = await store.create(digest, { sizeBytes: bytes.length });
        await writer.write([bytes.subarray(0, 70 * KIB), bytes.subarray(70 * KIB)]);
        await writer.verify();
        expect(store.stat(digest)).toBeUndefined();
        expect(await store.open(digest)).toBeUndefined();
        expect(events).toEqual([]);

        await writer.commit();
        expect(store.stat(digest)).toEqual({ digest, sizeBytes: bytes.length });
        expect(events).toEqual([{ type: 'committed', digest, sizeBytes: bytes.length }]);
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        await writer.close();
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
      });

      it.each([0, 1, 64 * KIB, 64 * KIB + 1])('takes a blob of %i bytes, by both algorithms', async (sizeBytes) => {
        const bytes = randomBytes(sizeBytes);
        for (const algorithm of ['sha256', 'sha512'] as const) {
          const digest = await put(store, bytes, digestOf(bytes, algorithm));
          expect(store.stat(digest)?.sizeBytes).toBe(sizeBytes);
          expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        }
        expect(store.stats()).toMatchObject({ blobs: 2, blobBytes: 2 * sizeBytes, ingestBytes: 0 });
      });

      it('takes a blob whose size nobody knew, in many writes of many chunks', async () => {
        const bytes = randomBytes(300_001);
        const digest = digestOf(bytes, 'sha512');
        const writer = await store.create(digest);
        for (let at = 0; at < bytes.length; at += 30_011) {
          const part = bytes.subarray(at, at + 30_011);
          await writer.write([part.subarray(0, 7), new Uint8Array(0), part.subarray(7)]);
          expect(writer.written).toBe(Math.min(at + 30_011, bytes.length));
        }
        await finish(writer);
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        expect(store.stats()).toMatchObject({ blobBytes: bytes.length, ingestBytes: 0 });
      });

      it('refuses to commit what was not verified', async () => {
        const bytes = randomBytes(10);
        const writer = await store.create(digestOf(bytes));
        await writer.write([bytes]);
        await expect(writer.commit()).rejects.toThrow(/not verified/);
        await writer.cancel();
        await writer.close();
        expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 0 });
      });

      it('keeps one blob, with the new bytes readable, when it is written a second time', async () => {
        const bytes = randomBytes(5000);
        const digest = await put(store, bytes);
        const reader = await store.open(digest);
        await put(store, bytes);
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: 5000, ingestBytes: 0 });
        expect(reader && (await readAll(reader)).equals(bytes)).toBe(true);
        await reader?.close();
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: 5000 });
      });
    });

    describe('verifying', () => {
      it.each([10, 200 * KIB])('rejects wrong bytes, keeps and shows nothing (%i bytes)', async (sizeBytes) => {
        const digest = digestOf(randomBytes(16));
        const writer = await store.create(digest, { sizeBytes });
        await writer.write([randomBytes(sizeBytes)]);
        await expect(writer.verify()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        await expect(writer.commit()).rejects.toThrow();
        await writer.cancel({ keep: true });
        await writer.close();
        expect(store.stat(digest)).toBeUndefined();
        expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0, ingestBytes: 0 });
        expect(events).toEqual([]);

        const again = await store.create(digest);
        expect(again.written).toBe(0);
        await again.cancel();
        await again.close();
      });

      it('rejects bytes that are right but too few', async () => {
        const bytes = randomBytes(100 * KIB);
        const writer = await store.create(digestOf(bytes));
        await writer.write([bytes.subarray(1)]);
        await expect(writer.verify()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        await writer.cancel();
        await writer.close();
      });
    });

    describe('reading while it is written', () => {
      it('gives what is written, from any offset, and 0 at the end', async () => {
        const bytes = randomBytes(150 * KIB);
        const writer = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
        const target = Buffer.alloc(10);
        expect(await writer.read(target, 0)).toBe(0);
        await writer.write([bytes.subarray(0, 100 * KIB)]);
        expect(writer.kept).toBe(true);
        expect(writer.floor).toBe(0);
        expect((await readAll(writer)).equals(bytes.subarray(0, 100 * KIB))).toBe(true);
        expect(await writer.read(target, 100 * KIB)).toBe(0);
        expect(await writer.read(target, 100 * KIB + 7)).toBe(0);
        writer.discard(50 * KIB);
        expect((await readAll(writer, 3)).equals(bytes.subarray(3, 100 * KIB))).toBe(true);
        await writer.write([bytes.subarray(100 * KIB)]);
        await writer.verify();
        await writer.commit();
        expect((await readAll(writer, 99 * KIB)).equals(bytes.subarray(99 * KIB))).toBe(true);
        await writer.close();
        await writer.close();
        await expect(writer.read(target, 0)).rejects.toThrow(/closed/);
      });

      it('goes on after cancel until close, and serves many readers at once', async () => {
        const bytes = randomBytes(64 * KIB);
        const writer = await store.create(digestOf(bytes));
        await writer.write([bytes]);
        const readers = Array.from({ length: 20 }, (_, i) => readAll(writer, i));
        await writer.cancel();
        const results = await Promise.all(readers);
        expect(results.every((result, i) => result.equals(bytes.subarray(i)))).toBe(true);
        expect((await readAll(writer)).equals(bytes)).toBe(true);
        await writer.close();
        expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 0 });
      });

      it('says where the bytes are: the file holds the same below fileBytes', async () => {
        const bytes = randomBytes(100 * KIB);
        const writer = await store.create(digestOf(bytes));
        await writer.write([bytes]);
        await expectSameInFile(writer, bytes);
        await writer.verify();
        await writer.commit();
        const blob = await store.open(writer.digest);
        expect(blob?.sizeBytes).toBe(bytes.length);
        if (blob !== undefined) await expectSameInFile(blob, bytes);
        await blob?.close();
        await writer.close();
      });
    });

    describe('one writer a digest', () => {
      it('throws while another is open, and not after it ended', async () => {
        const digest = digestOf(randomBytes(16));
        const pending = store.create(digest);
        await expect(store.create(digest)).rejects.toThrow(/written already/);
        const writer = await pending;
        await expect(store.create(digest)).rejects.toThrow(/written already/);
        await writer.cancel();
        const next = await store.create(digest);
        await writer.close();
        await next.close();
      });
    });

    describe('resuming', () => {
      it('takes over what an earlier writer left, and hashes it as well', async () => {
        const bytes = randomBytes(200 * KIB);
        const digest = digestOf(bytes);
        expect(store.unfinishedBytes(digest)).toBe(0);
        const first = await store.create(digest, { sizeBytes: bytes.length });
        await first.write([bytes.subarray(0, 120 * KIB)]);
        expect(store.stats().ingestBytes).toBe(200 * KIB);
        await first.cancel({ keep: true });
        await first.close();
        expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 120 * KIB });
        expect(store.unfinishedBytes(digest)).toBe(120 * KIB);

        const second = await store.create(digest, { sizeBytes: bytes.length });
        expect(second.written).toBe(120 * KIB);
        expect(store.unfinishedBytes(digest)).toBe(0);
        expect(store.stats().ingestBytes).toBe(200 * KIB);
        expect((await readAll(second)).equals(bytes.subarray(0, 120 * KIB))).toBe(true);
        await second.write([bytes.subarray(120 * KIB)]);
        await finish(second);
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: 200 * KIB, ingestBytes: 0 });
      });

      it('finds a wrong prefix by the digest', async () => {
        const bytes = randomBytes(100 * KIB);
        const first = await store.create(digestOf(bytes));
        await first.write([randomBytes(90 * KIB)]);
        await first.cancel({ keep: true });
        await first.close();
        const second = await store.create(digestOf(bytes));
        await second.write([bytes.subarray(second.written)]);
        await expect(second.verify()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        await second.close();
        expect(store.stats().ingestBytes).toBe(0);
      });

      it('starts at 0 when asked to be fresh, after cancel without keep, and when there is more than there should be', async () => {
        const bytes = randomBytes(1000);
        const digest = digestOf(bytes);
        const leave = async (keep: boolean) => {
          const writer = await store.create(digest);
          await writer.write([bytes.subarray(writer.written)]);
          await writer.cancel({ keep });
          await writer.close();
        };
        await leave(true);
        const fresh = await store.create(digest, { fresh: true });
        expect(fresh.written).toBe(0);
        expect(store.stats().ingestBytes).toBe(0);
        await fresh.cancel();
        await fresh.close();
        await leave(false);
        const dropped = await store.create(digest);
        expect(dropped.written).toBe(0);
        await dropped.cancel();
        await dropped.close();
        await leave(true);
        const shorter = await store.create(digest, { sizeBytes: 999 });
        expect(shorter.written).toBe(0);
        await shorter.cancel();
        await shorter.close();
        expect(store.stats().ingestBytes).toBe(0);
      });

      it('a writer closed without more leaves its bytes to the next', async () => {
        const bytes = randomBytes(1000);
        const writer = await store.create(digestOf(bytes));
        await writer.write([bytes.subarray(0, 400)]);
        await writer.close();
        const next = await store.create(digestOf(bytes));
        expect(next.written).toBe(400);
        await next.write([bytes.subarray(400)]);
        await finish(next);
        expect((await contentOf(store, digestOf(bytes)))?.equals(bytes)).toBe(true);
      });
    });

    describe('no room', () => {
      it('passes a blob that is larger than the store, without evicting for it, and keeps nothing', async () => {
        const small = await put(store, randomBytes(KIB));
        const bytes = randomBytes(maxBytes + 1);
        const digest = digestOf(bytes);
        const writer = await store.create(digest, { sizeBytes: bytes.length });
        expect(writer.kept).toBe(false);
        await writer.write([bytes.subarray(0, 500 * KIB)]);
        await writer.write([bytes.subarray(500 * KIB)]);
        expect((await readAll(writer)).equals(bytes)).toBe(true);
        await finish(writer);
        expect(store.stat(digest)).toBeUndefined();
        expect(digests()).toEqual([small]);
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: KIB, ingestBytes: 0 });
      });

      it('verifies what it passes', async () => {
        const writer = await store.create(digestOf(randomBytes(16)), { sizeBytes: maxBytes + 1 });
        await writer.write([randomBytes(maxBytes + 1)]);
        await expect(writer.verify()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        await writer.cancel();
        await writer.close();
      });

      it('verifies what was discarded at once, too', async () => {
        const bytes = randomBytes(8 * maxBytes + 1);
        const digest = digestOf(bytes);
        for (let round = 0; round < 3; round += 1) {
          const writer = await store.create(digest, { sizeBytes: bytes.length });
          for (let at = 0; at < bytes.length; at += 300_007) {
            await writer.write([bytes.subarray(at, at + 300_007)]);
            writer.discard(writer.written);
          }
          await finish(writer);
        }
      });

      it('discards below a position while passing, refuses to read there, and says where it begins', async () => {
        const bytes = randomBytes(maxBytes + 1000);
        const writer = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
        await writer.write([bytes.subarray(0, 2000), bytes.subarray(2000, 4000)]);
        expect(writer.floor).toBe(0);
        writer.discard(2500);
        expect(writer.floor).toBe(2500);
        writer.discard(100);
        expect(writer.floor).toBe(2500);
        await expect(writer.read(Buffer.alloc(10), 2499)).rejects.toThrow(RangeError);
        expect((await readAll(writer, 2500)).equals(bytes.subarray(2500, 4000))).toBe(true);
        await writer.write([bytes.subarray(4000)]);
        writer.discard(bytes.length + 5);
        expect(writer.floor).toBe(bytes.length);
        expect(await writer.read(Buffer.alloc(10), bytes.length)).toBe(0);
        await finish(writer);
      });

      it('goes over to passing in the middle, at no loss, when a blob of unknown size outgrows the store', async () => {
        const bytes = randomBytes(maxBytes + 300 * KIB);
        const writer = await store.create(digestOf(bytes));
        const step = 100 * KIB;
        for (let at = 0; at < bytes.length; at += step) {
          expect(writer.kept).toBe(at <= maxBytes);
          await writer.write([bytes.subarray(at, at + step)]);
        }
        expect(writer.kept).toBe(false);
        expect((await readAll(writer)).equals(bytes)).toBe(true);
        await finish(writer);
        expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0, ingestBytes: 0 });
      });

      it('keeps nothing to resume of what it passed', async () => {
        const digest = digestOf(randomBytes(16));
        const writer = await store.create(digest, { sizeBytes: maxBytes + 1 });
        await writer.write([randomBytes(100)]);
        await writer.cancel({ keep: true });
        await writer.close();
        const next = await store.create(digest);
        expect(next.written).toBe(0);
        await next.close();
        expect(store.stats().ingestBytes).toBe(0);
      });

      it('takes over the bytes of an earlier writer even where the rest has no room', async () => {
        const bytes = randomBytes(900 * KIB);
        const first = await store.create(digestOf(bytes));
        await first.write([bytes.subarray(0, 300 * KIB)]);
        await first.cancel({ keep: true });
        await first.close();
        const busy = await put(store, randomBytes(500 * KIB));
        const reader = await store.open(busy);
        const second = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
        expect(second.kept).toBe(false);
        expect(second.written).toBe(300 * KIB);
        await second.write([bytes.subarray(300 * KIB)]);
        expect((await readAll(second)).equals(bytes)).toBe(true);
        await finish(second);
        await reader?.close();
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: 500 * KIB, ingestBytes: 0 });
      });
    });

    describe('evicting', () => {
      const blobs = async (count: number, sizeBytes: number): Promise<Digest[]> => {
        const result: Digest[] = [];
        for (let i = 0; i < count; i += 1) result.push(await put(store, randomBytes(sizeBytes)));
        return result;
      };

      it('makes room by removing the least recently used, as few as need be, and tells', async () => {
        const [a, b, c, d] = await blobs(4, 256 * KIB);
        expect(digests()).toEqual([a, b, c, d]);
        await contentOf(store, a as Digest);
        expect(digests()).toEqual([b, c, d, a]);
        events.length = 0;
        const e = await put(store, randomBytes(300 * KIB));
        expect(digests()).toEqual([d, a, e]);
        expect(events.filter(({ type }) => type === 'removed')).toEqual([
          { type: 'removed', digest: b, reason: 'evicted' },
          { type: 'removed', digest: c, reason: 'evicted' },
        ]);
        expect(store.stats()).toMatchObject({ blobs: 3, blobBytes: 812 * KIB, ingestBytes: 0 });
        expect(await store.open(b as Digest)).toBeUndefined();
      });

      it('never removes what is read', async () => {
        const [a, b] = await blobs(4, 256 * KIB);
        const reader = await store.open(a as Digest);
        await store.open(b as Digest).then((blob) => blob?.close());
        const e = await put(store, randomBytes(600 * KIB));
        expect(store.stat(a as Digest)).toBeDefined();
        expect(store.stat(e)).toBeDefined();
        expect(reader && (await readAll(reader)).length).toBe(256 * KIB);
        await reader?.close();
      });

      it('never removes what is written, nor a blob whose writer is still open', async () => {
        const bytes = randomBytes(400 * KIB);
        const committed = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
        await committed.write([bytes]);
        await committed.verify();
        await committed.commit();
        const half = await store.create(digestOf(randomBytes(16)), { sizeBytes: 400 * KIB });
        await half.write([randomBytes(KIB)]);
        const none = await store.create(digestOf(randomBytes(16)), { sizeBytes: 300 * KIB });
        expect(none.kept).toBe(false);
        expect(half.kept).toBe(true);
        expect(store.stat(digestOf(bytes))).toBeDefined();
        await none.cancel();
        await none.close();
        await committed.close();
        const room = await store.create(digestOf(randomBytes(16)), { sizeBytes: 300 * KIB });
        expect(room.kept).toBe(true);
        expect(store.stat(digestOf(bytes))).toBeUndefined();
        for (const writer of [half, room]) {
          await writer.cancel();
          await writer.close();
        }
        expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0, ingestBytes: 0 });
      });

      it('removes nothing when even that would not do', async () => {
        const [a] = await blobs(2, 256 * KIB);
        const reader = await store.open(a as Digest);
        const writer = await store.create(digestOf(randomBytes(16)), { sizeBytes: 900 * KIB });
        expect(writer.kept).toBe(false);
        expect(store.stats().blobs).toBe(2);
        await writer.cancel();
        await writer.close();
        await reader?.close();
      });

      it('removes what unfinished writers left before any blob', async () => {
        const kept = await put(store, randomBytes(300 * KIB));
        const left = digestOf(randomBytes(16));
        const writer = await store.create(left);
        await writer.write([randomBytes(300 * KIB)]);
        await writer.cancel({ keep: true });
        await writer.close();
        await put(store, randomBytes(600 * KIB));
        expect(store.stat(kept)).toBeDefined();
        expect(store.stats().ingestBytes).toBe(0);
        const again = await store.create(left);
        expect(again.written).toBe(0);
        await again.close();
      });

      it('grants what two ask for at once only once', async () => {
        const sizes = Array.from({ length: 8 }, () => 200 * KIB);
        const writers = await Promise.all(
          sizes.map((sizeBytes, i) => store.create(digestOf(Buffer.from(`${i}`)), { sizeBytes })),
        );
        expect(writers.filter(({ kept }) => kept).length).toBe(5);
        expect(store.stats().ingestBytes).toBe(1000 * KIB);
        for (const writer of writers) await writer.close();
        expect(store.stats().ingestBytes).toBe(0);
      });
    });

    describe('deleting', () => {
      it('removes a blob, tells why, and says whether there was one', async () => {
        const digest = await put(store, randomBytes(10));
        expect(await store.delete(digest, 'corrupt')).toBe(true);
        expect(await store.delete(digest)).toBe(false);
        expect(store.stat(digest)).toBeUndefined();
        expect(await store.open(digest)).toBeUndefined();
        expect(events.at(-1)).toEqual({ type: 'removed', digest, reason: 'corrupt' });
        expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0 });
      });

      it('lets a reader go on with a deleted blob, which takes up room until it leaves', async () => {
        const bytes = randomBytes(800 * KIB);
        const digest = await put(store, bytes);
        const reader = await store.open(digest);
        await store.delete(digest);
        expect(await store.open(digest)).toBeUndefined();
        expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0 });
        const tooMuch = await store.create(digestOf(randomBytes(16)), { sizeBytes: 300 * KIB });
        expect(tooMuch.kept).toBe(false);
        expect(reader && (await readAll(reader)).equals(bytes)).toBe(true);
        await reader?.close();
        await reader?.close();
        await expect(reader?.read(Buffer.alloc(1), 0)).rejects.toThrow(/closed/);
        const enough = await store.create(digestOf(randomBytes(16)), { sizeBytes: 1000 * KIB });
        expect(enough.kept).toBe(true);
        await tooMuch.close();
        await enough.close();
      });

      it('takes the same blob again after it was deleted, also while an old reader stays', async () => {
        const bytes = randomBytes(100 * KIB);
        const digest = await put(store, bytes);
        const reader = await store.open(digest);
        await store.delete(digest);
        await put(store, bytes);
        await reader?.close();
        expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
        expect(store.stats()).toMatchObject({ blobs: 1, blobBytes: 100 * KIB });
      });
    });

    describe('listeners and stopping', () => {
      it('tells nobody who has unsubscribed', async () => {
        const seen: StoreEvent[] = [];
        const unsubscribe = store.subscribe((event) => seen.push(event));
        await put(store, randomBytes(1));
        unsubscribe();
        await put(store, randomBytes(1));
        expect(seen.length).toBe(1);
        expect(events.length).toBe(2);
      });

      it('ends open writers when it stops, and takes no more', async () => {
        const bytes = randomBytes(1000);
        const writer = await store.create(digestOf(bytes), { sizeBytes: 1000 });
        await writer.write([bytes.subarray(0, 500)]);
        await store.stop();
        await expect(writer.write([bytes.subarray(500)])).rejects.toThrow();
        await writer.close();
        await expect(store.create(digestOf(bytes))).rejects.toMatchObject({ code: 'STOPPING' });
        await expect(store.open(digestOf(bytes))).rejects.toMatchObject({ code: 'STOPPING' });
      });
    });
  });
}

async function expectSameInFile(extent: Extent, bytes: Buffer): Promise<void> {
  if (extent.file === undefined) {
    expect(extent.fileBytes).toBe(0);
    return;
  }
  expect(extent.fileBytes).toBe(bytes.length);
  const buffer = Buffer.alloc(bytes.length);
  expect((await extent.file.read(buffer, 0, buffer.length, 0)).bytesRead).toBe(bytes.length);
  expect(buffer.equals(bytes)).toBe(true);
}
