import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readFile, rm, stat, statfs, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { DiskBlobStore } from '../../../src/store/disk-blob-store.ts';
import { contentOf, digestOf, finish, put, readAll } from '../../conformance/blob-store.ts';
import { commandsMissing, describeWith, rootMissing } from '../../support/requires.ts';
import { filesOf } from '../../support/store-files.ts';
import {
  capturingLogger,
  FakeClock,
  fileOf,
  ingestsIn,
  kill9,
  startedStore,
  storeProcess,
  temporaryFolder,
} from './store-fixture.ts';

const KIB = 1024;
const silent = pino({ level: 'silent' });

describe('restart', () => {
  it('finds blobs and leftovers, and resumes', async () => {
    const path = await temporaryFolder();
    const bytes = randomBytes(300 * KIB);
    const before = await startedStore(path);
    const held = await put(before, randomBytes(5000), undefined);
    const writer = await before.create(digestOf(bytes), { sizeBytes: bytes.length });
    await writer.write([bytes.subarray(0, 200 * KIB)]);
    await before.stop();

    const after = await startedStore(path);
    expect([...after.list()]).toEqual([{ digest: held, sizeBytes: 5000 }]);
    expect(after.stats()).toMatchObject({ blobs: 1, blobBytes: 5000, ingestBytes: 200 * KIB });
    const resumed = await after.create(digestOf(bytes), { sizeBytes: bytes.length });
    expect(resumed.written).toBe(200 * KIB);
    await resumed.write([bytes.subarray(200 * KIB)]);
    await finish(resumed);
    expect((await contentOf(after, digestOf(bytes)))?.equals(bytes)).toBe(true);
    expect(await ingestsIn(path)).toEqual([]);
  });

  it('deletes leftovers of another boot: the disk may not have their bytes', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    const held = await put(before, randomBytes(10));
    const digest = digestOf(randomBytes(16));
    const writer = await before.create(digest);
    await writer.write([randomBytes(1000)]);
    await before.stop();
    expect(await ingestsIn(path)).toHaveLength(1);
    await writeFile(join(path, 'ingests', 'boot-id'), 'of another boot\n');

    const after = await startedStore(path);
    expect(await ingestsIn(path)).toEqual([]);
    expect(after.stats()).toMatchObject({ blobs: 1, ingestBytes: 0 });
    expect(after.stat(held)).toBeDefined();
    expect((await after.create(digest)).written).toBe(0);
    await after.stop();
    // From now on it is this boot's.
    await writeFile(join(path, 'ingests', `${digest.replace(':', '-')}-0123456789ab`), 'abc');
    expect((await startedStore(path)).stats().ingestBytes).toBe(3);
  });

  it('deletes what is no leftover, keeps the longer of two, and leaves strangers among the blobs alone', async () => {
    const path = await temporaryFolder();
    await (await startedStore(path)).stop();
    const name = digestOf(randomBytes(16)).replace(':', '-');
    await writeFile(join(path, 'ingests', 'junk'), 'x');
    await writeFile(join(path, 'ingests', `${name}-000000000001`), 'longer');
    await writeFile(join(path, 'ingests', `${name}-000000000002`), 'short');
    await writeFile(join(path, 'ingests', `${name}-000000000003`), '');
    const stranger = join(path, 'blobs', 'sha256', 'ab', 'note.txt');
    await mkdir(join(path, 'blobs', 'sha256', 'ab'), { recursive: true });
    await writeFile(stranger, 'hello');
    const { logger, lines } = capturingLogger();
    const store = await startedStore(path, { logger });
    expect(await ingestsIn(path)).toEqual([`${name}-000000000001`]);
    expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 6 });
    expect(existsSync(stranger)).toBe(true);
    expect(lines.find(({ msg }) => msg.includes('no blobs'))).toMatchObject({ strangers: [stranger] });
  });

  it('keeps the order of use, by the time of the file, touched at most once a minute', async () => {
    const path = await temporaryFolder();
    const clock = new FakeClock();
    const store = await startedStore(path, { clock });
    const digests = [];
    for (let i = 0; i < 3; i += 1) {
      digests.push(await put(store, randomBytes(100 + i)));
      clock.advance(1000);
    }
    const [a, b, c] = digests;
    if (a === undefined || b === undefined || c === undefined) throw new Error('three were put');
    const mtimeOf = async () => (await stat(fileOf(path, a))).mtimeMs;
    const committedMs = await mtimeOf();
    await contentOf(store, a);
    expect(await mtimeOf()).toBe(committedMs);
    clock.advance(60_000);
    await contentOf(store, a);
    await expect.poll(mtimeOf).toBe(clock.now());
    await store.stop();
    const after = await startedStore(path);
    expect([...after.list()].map(({ digest }) => digest)).toEqual([b, c, a]);
  });

  it('evicts at start when the quota was lowered', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    const old = await put(before, randomBytes(5000));
    await before.stop();
    await utimes(fileOf(path, old), 1, 1);
    const between = await startedStore(path);
    await put(between, randomBytes(4000));
    await between.stop();
    const after = await startedStore(path, { maxBytes: 6000 });
    expect(after.stats()).toMatchObject({ blobs: 1, blobBytes: 4000 });
    expect(existsSync(fileOf(path, old))).toBe(false);
  });
});

describe('the folder', () => {
  it.each(['2\n', '10'])('refuses a newer format (%j) and touches nothing', async (version) => {
    const path = await temporaryFolder();
    await writeFile(join(path, 'version'), version);
    const store = new DiskBlobStore({ path, maxBytes: 1, logger: silent });
    await expect(store.start()).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
      message: expect.stringMatching(/has format (2|10), .* up to 1/),
    });
    expect(existsSync(join(path, 'blobs'))).toBe(false);
    // And the lock is free again.
    await writeFile(join(path, 'version'), '1\n');
    await startedStore(path);
    expect(await readFile(join(path, 'version'), 'utf8')).toBe('1\n');
  });

  it('refuses a version that is no number, and a path that is no folder', async () => {
    const path = await temporaryFolder();
    await writeFile(join(path, 'version'), 'one');
    const store = new DiskBlobStore({ path, maxBytes: 1, logger: silent });
    await expect(store.start()).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    const file = new DiskBlobStore({ path: join(path, 'version'), maxBytes: 1, logger: silent });
    await expect(file.start()).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
  });

  it('is private', async () => {
    const path = join(await temporaryFolder(), 'a', 'b');
    const store = await startedStore(path);
    const digest = await put(store, randomBytes(3));
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect((await stat(fileOf(path, digest))).mode & 0o077).toBe(0);
  });

  it('is refused to a second process, naming the first, and free after kill -9', async () => {
    const path = await temporaryFolder();
    const child = await storeProcess(path, 'hold');
    const store = new DiskBlobStore({ path, maxBytes: 1, logger: silent });
    await expect(store.start()).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
      message: expect.stringContaining(`pid ${child.pid} `),
    });
    await kill9(child);
    await startedStore(path);
  });

  it('is refused to a second store of the same process', async () => {
    const path = await temporaryFolder();
    const first = await startedStore(path);
    const second = new DiskBlobStore({ path, maxBytes: 1, logger: silent });
    await expect(second.start()).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    await first.stop();
    await startedStore(path);
  });
});

describe('files that change under us', () => {
  it('a blob whose file has vanished is not held, nor counted, any more', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const digest = await put(store, randomBytes(100));
    await rm(fileOf(path, digest));
    expect(await Promise.all([store.open(digest), store.open(digest)])).toEqual([undefined, undefined]);
    expect(store.stat(digest)).toBeUndefined();
    expect(store.stats()).toMatchObject({ blobs: 0, blobBytes: 0 });
  });

  it.each(['longer', 'shorter'])('a blob whose file is %s is dropped as corrupt', async (how) => {
    const path = await temporaryFolder();
    const metrics = new Metrics();
    const store = await startedStore(path, { metrics });
    const digest = await put(store, randomBytes(100));
    if (how === 'longer') await appendFile(fileOf(path, digest), 'x');
    else await truncate(fileOf(path, digest), 99);
    const events: unknown[] = [];
    store.subscribe((event) => events.push(event));
    expect(await store.open(digest)).toBeUndefined();
    expect(events).toEqual([{ type: 'removed', digest, reason: 'corrupt' }]);
    expect(existsSync(fileOf(path, digest))).toBe(false);
    expect((await metrics.storeCorrupt.get()).values[0]?.value).toBe(1);
  });

  it('a file cut short under a reader is an error, not the end', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const digest = await put(store, randomBytes(5000));
    const blob = await store.open(digest);
    await truncate(fileOf(path, digest), 100);
    await expect(blob && readAll(blob)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(store.stat(digest)).toBeUndefined();
    await blob?.close();
  });

  it('a file that cannot be opened for another reason is an error, not absence', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const digest = await put(store, randomBytes(100));
    await rm(fileOf(path, digest));
    await symlink(fileOf(path, digest), fileOf(path, digest));
    await expect(store.open(digest)).rejects.toMatchObject({ code: 'ELOOP' });
    expect(store.stat(digest)).toBeDefined();
    expect(store.stats().blobs).toBe(1);
  });

  it('a file that is cut short under an old reader says nothing of the one that was committed since', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(5000);
    const digest = await put(store, bytes);
    const blob = await store.open(digest);
    await truncate(fileOf(path, digest), 100);
    await put(store, bytes);
    await expect(blob && readAll(blob)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    await blob?.close();
    expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
  });

  it('a blob that the disk cannot give back is dropped: the next one to ask fetches it again', async () => {
    const store = await startedStore(await temporaryFolder());
    const digest = await put(store, randomBytes(5000));
    const blob = await store.open(digest);
    if (blob?.file === undefined) throw new Error('no file');
    blob.file.read = () => Promise.reject(Object.assign(new Error('i/o error'), { code: 'EIO' }));
    await expect(readAll(blob)).rejects.toMatchObject({ code: 'EIO' });
    await blob.close();
    expect(store.stat(digest)).toBeUndefined();
  });

  it('an unfinished file that cannot be opened is no hindrance, nor left behind', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(1000);
    const first = await store.create(digestOf(bytes));
    await first.write([bytes.subarray(0, 500)]);
    await first.close();
    const [name = ''] = await ingestsIn(path);
    await rm(join(path, 'ingests', name));
    await symlink('/dev/null', join(path, 'ingests', name));
    const second = await store.create(digestOf(bytes));
    expect(second.written).toBe(0);
    await second.write([bytes]);
    await finish(second);
    expect((await contentOf(store, digestOf(bytes)))?.equals(bytes)).toBe(true);
    expect(await ingestsIn(path)).toEqual([]);
  });

  it('where no file can be opened at all, blobs are passed on', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    await rm(join(path, 'ingests'), { recursive: true });
    await writeFile(join(path, 'ingests'), 'no folder');
    const bytes = randomBytes(1000);
    const writer = await store.create(digestOf(bytes), { sizeBytes: 1000 });
    expect(writer.kept).toBe(false);
    await writer.write([bytes]);
    expect((await readAll(writer)).equals(bytes)).toBe(true);
    await finish(writer);
    expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 0 });
    await rm(join(path, 'ingests'));
    await put(store, bytes);
    expect(store.stat(digestOf(bytes))).toBeDefined();
  });

  it('a store whose folders were wiped commits the next blob', async () => {
    const path = await temporaryFolder();
    const store = await startedStore(path);
    const bytes = randomBytes(100);
    const digest = await put(store, bytes);
    await store.delete(digest);
    await rm(join(fileOf(path, digest), '..'), { recursive: true });
    await put(store, bytes);
    expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
  });
});

describe('leftovers', () => {
  it('go when they are too old, but not while they are written', async () => {
    const path = await temporaryFolder();
    const clock = new FakeClock();
    const store = await startedStore(path, { clock, partialMaxAgeMs: 3_600_000 });
    const left = await store.create(digestOf(randomBytes(16)));
    await left.write([randomBytes(1000)]);
    await left.close();
    const running = await store.create(digestOf(randomBytes(16)));
    await running.write([randomBytes(500)]);
    await expect.poll(() => clock.sleeping).toBe(2);
    clock.advance(3_500_000);
    await expect.poll(() => clock.sleeping).toBe(2);
    expect(await ingestsIn(path)).toHaveLength(2);
    clock.advance(200_000);
    await expect.poll(() => ingestsIn(path)).toHaveLength(1);
    expect(await readAll(running)).toHaveLength(500);
    await running.cancel();
    await running.close();
    expect(store.stats().ingestBytes).toBe(0);
  });
});

describe('room', () => {
  it('keeps the floor of free space, whatever the quota, and says why it passes a blob on', async () => {
    const path = await temporaryFolder();
    const { bavail, bsize, blocks } = await statfs(path);
    const { logger, lines } = capturingLogger();
    const metrics = new Metrics();
    const minFreeShare = Math.min(1, bavail / blocks + 0.1);
    const store = await startedStore(path, { minFreeShare, maxBytes: bavail * bsize, logger, metrics });
    const bytes = randomBytes(1000);
    const writer = await store.create(digestOf(bytes), { sizeBytes: 1000 });
    expect(writer.kept).toBe(false);
    for (const byte of bytes) await writer.write([Uint8Array.of(byte)]);
    await finish(writer);
    const warnings = lines.filter(({ level }) => level === 40);
    expect(warnings).toEqual([
      expect.objectContaining({ digest: digestOf(bytes), reason: 'floor', missingBytes: expect.any(Number) }),
    ]);
    expect((await metrics.storePassed.get()).values[0]?.value).toBe(1);
  });

  it('counts and names what it cannot delete', async () => {
    const { logger, lines } = capturingLogger();
    const metrics = new Metrics();
    const path = await temporaryFolder();
    const store = await startedStore(path, { metrics, logger });
    const digest = await put(store, randomBytes(100));
    await rm(fileOf(path, digest));
    // unlink(2) fails on a folder, root or not.
    await mkdir(fileOf(path, digest));

    expect(await store.delete(digest)).toBe(true);

    expect(lines).toContainEqual(expect.objectContaining({ path: fileOf(path, digest) }));
    expect((await metrics.storeDeleteFailures.get()).values[0]?.value).toBe(1);
  });

  it('counts what it evicts', async () => {
    const metrics = new Metrics();
    const store = await startedStore(await temporaryFolder(), { metrics, maxBytes: 10_000 });
    await put(store, randomBytes(6000));
    await put(store, randomBytes(5000));
    const text = await metrics.registry.metrics();
    expect(text).toContain('windlass_store_evictions_total 1\n');
    expect(text).toContain('windlass_store_evicted_bytes_total 6000\n');
  });
});

describeWith('a disk that is full (a tmpfs)', [rootMissing(), commandsMissing('mount', 'umount')], () => {
  async function smallDisk(): Promise<string> {
    const path = await temporaryFolder();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', path]);
    onTestFinished(() => void execFileSync('umount', ['-l', path]));
    return path;
  }

  it('goes on in memory from exactly where the file ends', async () => {
    const path = await smallDisk();
    const { logger, lines } = capturingLogger();
    const store = await startedStore(join(path, 'store'), { logger });
    const bytes = randomBytes(12_000_001);
    const writer = await store.create(digestOf(bytes));
    for (let at = 0; at < bytes.length; at += 777_777) await writer.write([bytes.subarray(at, at + 777_777)]);
    expect(writer.kept).toBe(false);
    expect(writer.fileBytes).toBeGreaterThan(7_000_000);
    expect(writer.floor).toBe(writer.fileBytes);
    const buffer = Buffer.alloc(100_000);
    const seam = writer.fileBytes - 50_000;
    expect(await writer.read(buffer, seam)).toBe(50_000);
    expect(buffer.subarray(0, 50_000).equals(bytes.subarray(seam, seam + 50_000))).toBe(true);
    expect(await writer.read(buffer, seam + 50_000)).toBe(100_000);
    expect(buffer.equals(bytes.subarray(seam + 50_000, seam + 150_000))).toBe(true);
    await finish(writer);
    expect(lines.filter(({ level }) => level === 40)).toHaveLength(1);
    expect(store.stats()).toMatchObject({ blobs: 0, ingestBytes: 0 });
    expect(await filesOf(join(path, 'store'))).toMatchObject({ blobs: 0, ingests: 0 });
    // And has room again.
    const small = randomBytes(1_000_000);
    expect((await contentOf(store, await put(store, small)))?.equals(small)).toBe(true);
  });

  it('starts though there is not a byte left, not even to say who and since when', async () => {
    const path = await smallDisk();
    const before = await startedStore(join(path, 'store'));
    const bytes = randomBytes(1_000_000);
    const digest = await put(before, bytes);
    await before.stop();
    await writeFile(join(path, 'store', 'ingests', 'boot-id'), '');
    await expect(writeFile(join(path, 'somebody-else'), Buffer.alloc(9_000_000))).rejects.toMatchObject({
      code: 'ENOSPC',
    });
    const { logger, lines } = capturingLogger();
    const store = await startedStore(join(path, 'store'), { logger });
    expect((await contentOf(store, digest))?.equals(bytes)).toBe(true);
    expect(lines.find(({ level }) => level === 40)).toMatchObject({ msg: 'this boot cannot be noted' });
    const next = randomBytes(500_000);
    expect((await contentOf(store, await put(store, next)))?.equals(next)).toBe(true);
    expect(store.stat(digest)).toBeUndefined();
  });

  it('gives way when somebody else fills it, without being asked for room: kubelet would evict pods', async () => {
    const path = await smallDisk();
    const clock = new FakeClock();
    const store = await startedStore(join(path, 'store'), { clock, minFreeShare: 0.25 });
    const old = await put(store, randomBytes(2_000_000));
    clock.advance(1000);
    const read = await put(store, randomBytes(1_000_000));
    const reader = await store.open(read);
    await writeFile(join(path, 'somebody-else'), randomBytes(3_500_000));
    await expect.poll(() => clock.sleeping).toBe(2);
    clock.advance(60_000);
    await expect.poll(() => store.stat(old)).toBeUndefined();
    expect(existsSync(fileOf(join(path, 'store'), old))).toBe(false);
    // As much as it takes, and never what is read.
    await writeFile(join(path, 'somebody-else'), randomBytes(6_500_000));
    await expect.poll(() => clock.sleeping).toBe(2);
    clock.advance(60_000);
    await expect.poll(() => clock.sleeping).toBe(2);
    expect(store.stat(read)).toBeDefined();
    await reader?.close();
    clock.advance(60_000);
    await expect.poll(() => store.stat(read)).toBeUndefined();
  });

  it('evicts once when somebody else filled it, and keeps the blob', async () => {
    const path = await smallDisk();
    const store = await startedStore(join(path, 'store'));
    const old = await put(store, randomBytes(3_000_000));
    const bytes = randomBytes(2_500_000);
    const writer = await store.create(digestOf(bytes), { sizeBytes: bytes.length });
    await writer.write([bytes.subarray(0, 1_000_000)]);
    await writeFile(join(path, 'somebody-else'), randomBytes(3_900_000));
    await writer.write([bytes.subarray(1_000_000)]);
    expect(writer.kept).toBe(true);
    await finish(writer);
    expect(store.stat(old)).toBeUndefined();
    expect((await contentOf(store, digestOf(bytes)))?.equals(bytes)).toBe(true);
  });
});
