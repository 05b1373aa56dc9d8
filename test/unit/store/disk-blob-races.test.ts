import { randomBytes, randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { contentOf, digestOf, finish, put } from '../../conformance/blob-store.ts';
import { filesOf } from '../../support/store-files.ts';
import { fileOf, ingestsIn, startedStore, temporaryFolder } from './store-fixture.ts';

const MIB = 1024 * 1024;

describe('calls that meet', () => {
  it('cancel does not wait for the hashing of what is verified', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(30 * MIB);
    const writer = await store.create(digestOf(bytes));
    await writer.write([bytes]);
    const verifying = expect(writer.verify()).rejects.toThrow('given up');
    await writer.cancel({ keep: true });
    await verifying;
    await writer.close();
    expect(store.stats().ingestBytes).toBe(bytes.length);
    const next = await store.create(digestOf(bytes));
    expect(next.written).toBe(bytes.length);
    await finish(next);
    expect(store.stats()).toMatchObject({ blobs: 1, ingestBytes: 0 });
  });

  it('cancel, close and stop wait for a write under way, and keep what it wrote', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(3 * MIB);
    const writers = await Promise.all(
      ['cancel', 'close', 'stop'].map((how) => store.create(digestOf(Buffer.from(how)), { sizeBytes: bytes.length })),
    );
    const writes = writers.map((writer) => writer.write([bytes]).catch(() => undefined));
    await Promise.all([writers[0]?.cancel({ keep: true }), writers[1]?.close(), store.stop()]);
    await Promise.all(writes);
    const { ingests, ingestBytes } = await filesOf(path);
    expect(store.stats().ingestBytes).toBe(ingestBytes);
    expect(ingests).toBe(3);
    expect(ingestBytes).toBe(3 * bytes.length);
  });

  it('a deletion of the old one never hits the file of the one that is committed meanwhile', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(100);
    const digest = await put(store, bytes);
    for (let round = 0; round < 100; round += 1) {
      const writer = await store.create(digest);
      await writer.write([bytes]);
      await writer.verify();
      const committing = writer.commit();
      for (let turns = randomInt(60); turns > 0; turns -= 1) await nextTurn();
      await store.delete(digest);
      await committing;
      await writer.close();
      // Which of both came first is open; that the index and the disk agree is not.
      expect(existsSync(fileOf(path, digest))).toBe(store.stat(digest) !== undefined);
    }
    expect(await ingestsIn(path)).toEqual([]);
  });

  it('of commits that meet at most three sync at once: the others’ threads are those who read', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    let syncing = 0;
    let most = 0;
    const { promise: disk, resolve: goOn } = Promise.withResolvers<void>();
    const commits = Array.from({ length: 8 }, async () => {
      const bytes = randomBytes(1000);
      const writer = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
      await writer.write([bytes]);
      if (writer.file === undefined) throw new Error('no file');
      writer.file.sync = async () => {
        syncing += 1;
        most = Math.max(most, syncing);
        await disk;
        syncing -= 1;
      };
      await finish(writer);
    });
    await expect.poll(() => syncing).toBe(3);
    goOn();
    await Promise.all(commits);
    expect(most).toBe(3);
    expect(store.stats().blobs).toBe(8);
  });

  it('readers, writers, deletions and evictions at random end with figures that are those of the files', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path, { maxBytes: 600_000 });
    const contents = [10, 1000, 80_000, 150_000, 200_000, 250_000].map((sizeBytes) => randomBytes(sizeBytes));
    const worker = async () => {
      for (let step = 0; step < 40; step += 1) {
        const bytes = contents[randomInt(contents.length)] as Buffer;
        const digest = digestOf(bytes);
        const act = randomInt(5);
        if (act === 0) await store.delete(digest);
        else if (act <= 2) {
          const read = await contentOf(store, digest);
          expect(read === undefined || read.equals(bytes)).toBe(true);
        } else {
          const writer = await store.create(digest, { sizeBytes: bytes.length }).catch((error: Error) => {
            expect(error.message).toMatch(/written already/);
            return undefined;
          });
          if (writer === undefined) continue;
          await writer.write([bytes.subarray(writer.written, writer.written + randomInt(bytes.length))]);
          if (act === 3) await writer.write([bytes.subarray(writer.written)]);
          if (writer.written === bytes.length) await finish(writer);
          else await writer.close();
        }
        const { blobBytes, ingestBytes, maxBytes } = store.stats();
        expect(blobBytes + ingestBytes).toBeLessThanOrEqual(maxBytes);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    const { blobs, blobBytes, ingestBytes, wrong } = await filesOf(path);
    expect(wrong).toEqual([]);
    expect(store.stats()).toMatchObject({ blobs, blobBytes, ingestBytes });
    // Nothing lingers: all of it can be had.
    const whole = await store.create(digestOf(randomBytes(16)), { sizeBytes: 600_000 });
    expect(whole.kept).toBe(true);
    await whole.cancel();
    await whole.close();
  });
});
