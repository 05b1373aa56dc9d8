/**
 * How long a store with many small blobs takes to open, and what it costs in memory.
 * `node test/bench/store-start.ts [blobs]` (100,000): goal 5 s and 200 MiB RSS.
 *
 * The files are made by hand: committing 100,000 blobs, each synced, would measure the disk. Opening happens in a
 * process of its own, so that what made them does not count.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { DiskBlobStore } from '../../src/store/disk-blob-store.ts';

const [mode, argument] = process.argv.slice(2);

if (mode === 'open' && argument !== undefined) {
  const bareRss = process.memoryUsage.rss();
  const beganMs = performance.now();
  let longestMs = 0;
  let lastMs = beganMs;
  const ticker = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 1);
  const store = new DiskBlobStore({ path: argument, maxBytes: 1e12, logger: pino({ level: 'silent' }) });
  await store.start();
  const tookMs = performance.now() - beganMs;
  clearInterval(ticker);
  const { blobs, blobBytes } = store.stats();
  const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);
  const listMs = performance.now();
  let listed = 0;
  for (const { sizeBytes } of store.list()) listed += sizeBytes;
  if (listed !== blobBytes) throw new Error(`listed ${listed} bytes, but the store says ${blobBytes}`);
  const figures = {
    blobs,
    startMs: Math.round(tookMs),
    listMs: Math.round(performance.now() - listMs),
    longestBlockMs: Math.round(longestMs),
    rssMiB: mib(process.memoryUsage.rss()),
    bareRssMiB: mib(bareRss),
    heapUsedMiB: mib(process.memoryUsage().heapUsed),
  };
  await store.stop();
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} else {
  const blobs = Number(mode ?? 100_000);
  const path = mkdtempSync(join(tmpdir(), 'windlass-bench-'));
  try {
    const folders = new Set<string>();
    for (let i = 0; i < blobs; i += 1) {
      const hex = randomBytes(32).toString('hex');
      const folder = join(path, 'blobs', 'sha256', hex.slice(0, 2));
      if (!folders.has(folder)) mkdirSync(folder, { recursive: true });
      folders.add(folder);
      writeFileSync(join(folder, hex), hex);
    }
    for (let run = 0; run < 3; run += 1) {
      process.stdout.write(execFileSync(process.execPath, [import.meta.filename, 'open', path], { encoding: 'utf8' }));
    }
  } finally {
    rmSync(path, { recursive: true });
  }
}
