import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { HashPool } from '../../../src/store/hash-pool.ts';
import { Scrub } from '../../../src/store/scrub.ts';
import { contentOf, digestOf, put } from '../../conformance/blob-store.ts';
import { capturingLogger, FakeClock, fileOf, startedStore, temporaryFolder } from './store-fixture.ts';

const MIB = 1024 * 1024;

async function flipByte(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, position);
  await file.close();
}

async function scrubbedBytes(metrics: Metrics): Promise<number> {
  return (await metrics.storeScrubbedBytes.get()).values[0]?.value ?? 0;
}

describe('the scrub', () => {
  it('drops what rotted, in a file of any size, and nothing else', async () => {
    const path = await temporaryFolder();
    const clock = new FakeClock();
    const metrics = new Metrics();
    const { logger, lines } = capturingLogger();
    const store = await startedStore(path, { clock, metrics, logger, scrubBytesPerSecond: 100 * MIB });
    // An empty store's round is over: the next one begins a day later.
    await expect.poll(() => clock.sleeping).toBe(3);
    const sound = [await put(store, randomBytes(0)), await put(store, randomBytes(70_000))];
    sound.push(await put(store, randomBytes(3 * MIB), undefined));
    const large = randomBytes(2 * MIB + 5);
    const rotten = [await put(store, randomBytes(10)), await put(store, large, digestOf(large, 'sha512'))];
    const removed: unknown[] = [];
    store.subscribe((event) => removed.push(event));
    await flipByte(fileOf(path, rotten[0] as Digest), 9);
    await flipByte(fileOf(path, rotten[1] as Digest), 2 * MIB);
    clock.advance(24 * 3_600_000);
    await expect
      .poll(
        async () => {
          clock.advance(1000);
          return (await scrubbedBytes(metrics)) >= 70_000 + 3 * MIB + 10 + large.length && removed.length === 2;
        },
        { timeout: 15_000 },
      )
      .toBe(true);
    expect(removed).toEqual(
      expect.arrayContaining(rotten.map((digest) => ({ type: 'removed', digest, reason: 'corrupt' }))),
    );
    expect(new Set([...store.list()].map(({ digest }) => digest))).toEqual(new Set(sound));
    expect(existsSync(fileOf(path, rotten[0] as Digest))).toBe(false);
    expect((await metrics.storeCorrupt.get()).values[0]?.value).toBe(2);
    const errors = lines.filter(({ level }) => level === 50);
    expect(new Set(errors.map(({ digest }) => digest))).toEqual(new Set(rotten));
  });

  it('reads no faster than it may', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    await put(before, randomBytes(4 * MIB));
    await before.stop();
    const clock = new FakeClock();
    const metrics = new Metrics();
    await startedStore(path, { clock, metrics, scrubBytesPerSecond: MIB });
    for (let seconds = 0; seconds < 4; seconds += 1) {
      await expect.poll(() => scrubbedBytes(metrics)).toBe((seconds + 1) * MIB);
      await expect.poll(() => clock.sleeping).toBe(3);
      clock.advance(999);
      expect(await scrubbedBytes(metrics)).toBe((seconds + 1) * MIB);
      clock.advance(1);
    }
  });

  it('goes on after a restart where it was', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    const digests: Digest[] = [];
    for (let i = 0; i < 10; i += 1) digests.push(await put(before, randomBytes(1000)));
    await before.stop();
    digests.sort();
    await writeFile(join(path, 'scrub-cursor'), digests[6] ?? '');
    const clock = new FakeClock();
    const metrics = new Metrics();
    const store = await startedStore(path, { clock, metrics, scrubBytesPerSecond: MIB });
    // The rest of the round is 3 blobs; then it rests, until the next.
    await expect
      .poll(async () => {
        if ((await readFile(join(path, 'scrub-cursor'), 'utf8')) === '') return true;
        clock.advance(10);
        return false;
      })
      .toBe(true);
    expect(await scrubbedBytes(metrics)).toBe(3000);
    expect(store.stats().blobs).toBe(10);
  });

  it('starts from the beginning when its place makes no sense', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    await put(before, randomBytes(1000));
    await before.stop();
    await writeFile(join(path, 'scrub-cursor'), 'zzz');
    const metrics = new Metrics();
    await startedStore(path, { clock: new FakeClock(), metrics, scrubBytesPerSecond: MIB });
    await expect.poll(() => scrubbedBytes(metrics)).toBe(1000);
  });

  it('lets others have their turn between its looks at all that is held', async () => {
    let turn = 0;
    const turns: number[] = [];
    let running = true;
    const count = () => {
      turn += 1;
      if (running) setImmediate(count);
    };
    count();
    const clock = new FakeClock();
    const scrub = new Scrub({
      bytesPerSecond: MIB,
      cursorPath: join(await temporaryFolder(), 'cursor'),
      hashes: new HashPool(),
      clock,
      logger: capturingLogger().logger,
      blobs: () => {
        turns.push(turn);
        return [];
      },
      pathOf: () => '',
      holds: () => true,
      scrubbed: () => undefined,
      corrupt: async () => undefined,
    });
    scrub.start();
    await expect.poll(() => clock.sleeping).toBe(1);
    running = false;
    await scrub.stop();
    expect(turns).toHaveLength(512);
    expect(new Set(turns).size).toBe(512);
  });

  it('holds up neither eviction nor the stop of the store', async () => {
    const path = await temporaryFolder();
    const before = await startedStore(path);
    const old = await put(before, randomBytes(3 * MIB));
    await before.stop();
    const clock = new FakeClock();
    const metrics = new Metrics();
    const store = await startedStore(path, { clock, metrics, scrubBytesPerSecond: MIB, maxBytes: 4 * MIB });
    await expect.poll(() => scrubbedBytes(metrics)).toBe(MIB);
    const bytes = randomBytes(2 * MIB);
    const next = await put(store, bytes);
    expect(store.stat(old)).toBeUndefined();
    clock.advance(1000);
    expect((await contentOf(store, next))?.equals(bytes)).toBe(true);
    await store.stop();
  });
});
