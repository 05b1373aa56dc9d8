import { createHash, randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { DigestAlgorithm } from '../../../src/oci/digest.ts';
import { HashPool } from '../../../src/store/hash-pool.ts';
import { temporaryFolder } from './store-fixture.ts';

function startedPool(maxThreads?: number): HashPool {
  const pool = new HashPool(maxThreads);
  onTestFinished(() => pool.stop());
  return pool;
}

async function openWith(bytes: Uint8Array) {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, bytes);
  const file = await open(path, 'r');
  onTestFinished(() => file.close());
  return file;
}

const hexOf = (bytes: Uint8Array, algorithm = 'sha256') => createHash(algorithm).update(bytes).digest('hex');
/** Makes the thread throw: no TypeScript lets this through. */
const NONSENSE = 'nonsense' as DigestAlgorithm;

describe('hashing threads', () => {
  it('hash a file as it grows, then bytes that follow, many at once', async () => {
    const pool = startedPool();
    const bytes = randomBytes(5_000_000);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    const file = await openWith(bytes.subarray(0, 3_000_000));
    const results = await Promise.all(
      (['sha256', 'sha512', 'sha256'] as const).map(async (algorithm) => {
        const job = pool.begin(algorithm);
        job.file(file.fd, 1000);
        await job.reached(1000);
        job.file(file.fd, 3_000_000);
        job.bytes(shared.subarray(3_000_000, 3_000_001));
        job.bytes(shared.subarray(3_000_001));
        await job.reached(4_000_000);
        const hex = await job.digest();
        await job.drop();
        await job.drop();
        return hex === hexOf(bytes, algorithm);
      }),
    );
    expect(results).toEqual([true, true, true]);
  });

  it('fail a job whose file is shorter than said, and no other', async () => {
    const pool = startedPool(1);
    const bytes = randomBytes(1000);
    const file = await openWith(bytes);
    const short = pool.begin('sha256');
    const sound = pool.begin('sha256');
    short.file(file.fd, 1001);
    sound.file(file.fd, 1000);
    await expect(short.digest()).rejects.toThrow('the file ends at 1000');
    await expect(short.reached(1001)).rejects.toThrow('the file ends at 1000');
    expect(await sound.digest()).toBe(hexOf(bytes));
    await Promise.all([short.drop(), sound.drop()]);
  });

  it('tell a disk that cannot give its bytes from a file that is too short, by the code of the error', async () => {
    const pool = startedPool(1);
    // Nothing is mapped at address 0.
    const unreadable = await open('/proc/self/mem', 'r');
    onTestFinished(() => unreadable.close());
    const short = await openWith(randomBytes(10));
    for (const [file, code] of [
      [unreadable, 'EIO'],
      [short, 'EOF'],
    ] as const) {
      const job = pool.begin('sha256');
      job.file(file.fd, 11);
      await expect(job.digest()).rejects.toMatchObject({ code });
      await job.drop();
    }
  });

  it('fail their jobs when they die, and are replaced', async () => {
    const pool = startedPool(1);
    const file = await openWith(randomBytes(1000));
    const job = pool.begin('sha256');
    const waiting = expect(job.reached(1000)).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    const broken = pool.begin(NONSENSE);
    await expect(broken.digest()).rejects.toMatchObject({ code: 'STORE_UNUSABLE', cause: expect.any(Error) });
    await waiting;
    await expect(job.digest()).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    await Promise.all([job.drop(), broken.drop()]);
    const next = pool.begin('sha256');
    next.file(file.fd, 1000);
    await next.reached(1000);
    await next.drop();
  });

  it('give up a job at once: the file may be closed', async () => {
    const pool = startedPool(1);
    const file = await openWith(randomBytes(20_000_000));
    const job = pool.begin('sha256');
    job.file(file.fd, 20_000_000);
    const digest = expect(job.digest()).rejects.toThrow('given up');
    await job.drop();
    await digest;
  });

  it('end with the pool, and so do the jobs', async () => {
    const pool = startedPool(1);
    const job = pool.begin('sha256');
    const waiting = expect(job.reached(1)).rejects.toMatchObject({ code: 'STOPPING' });
    await pool.stop();
    await waiting;
    await job.drop();
    expect(() => pool.begin('sha256')).toThrow(expect.objectContaining({ code: 'STOPPING' }));
  });
});
