/**
 * A process with a store, to be killed: `node store-child.ts <path> hold|churn`. Says "ready" once it is started.
 * `churn` writes, abandons, resumes, reads, deletes and evicts without end; what it says is committed is durable.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { pino } from 'pino';
import { parseDigest } from '../../../src/oci/digest.ts';
import { DiskBlobStore } from '../../../src/store/disk-blob-store.ts';

const [path = '', mode] = process.argv.slice(2);
const store = new DiskBlobStore({ path, maxBytes: 3_000_000, logger: pino({ level: 'silent' }) });
await store.start();
process.stdout.write('ready\n');
if (mode === 'hold') setInterval(() => undefined, 1000);
else await Promise.all([churn(), churn(), churn()]);

async function churn(): Promise<never> {
  for (;;) {
    const bytes = randomBytes(randomInt(0, 400_000));
    const digest = parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    const cut = randomInt(0, bytes.length + 1);
    const sizeBytes = randomInt(2) === 0 ? bytes.length : undefined;
    const first = await store.create(digest, { sizeBytes });
    await first.write([bytes.subarray(0, cut)]);
    await first.cancel({ keep: randomInt(2) === 0 });
    await first.close();
    if (randomInt(4) === 0) continue;
    const second = await store.create(digest, { sizeBytes });
    await second.write([bytes.subarray(second.written)]);
    await second.verify();
    await second.commit();
    await second.close();
    const held = [...store.list()];
    const some = held[randomInt(0, held.length + 1)];
    if (some !== undefined && randomInt(5) === 0) await store.delete(some.digest);
    process.stdout.write(`${digest} ${store.stat(digest) === undefined ? 'gone' : 'held'}\n`);
  }
}
