import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Clock } from '../../../src/store/clock.ts';
import { DiskBlobStore, type DiskBlobStoreOptions } from '../../../src/store/disk-blob-store.ts';
import { blobPath, layoutOf } from '../../../src/store/store-format.ts';

export async function temporaryFolder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'windlass-store-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

export function capturingLogger(): { readonly logger: pino.Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line) as LogLine) });
  return { logger, lines };
}

/** A started store, stopped when the test ends. */
export async function startedStore(path: string, options: Partial<DiskBlobStoreOptions> = {}): Promise<DiskBlobStore> {
  const store = new DiskBlobStore({ path, maxBytes: 100_000_000, logger: pino({ level: 'silent' }), ...options });
  await store.start();
  onTestFinished(() => store.stop());
  return store;
}

export function fileOf(path: string, digest: Digest): string {
  return blobPath(layoutOf(path), digest).path;
}

export async function ingestsIn(path: string): Promise<string[]> {
  const names = await readdir(join(path, 'ingests'));
  return names.filter((name) => name !== 'boot-id');
}

/** A process with the store, killed when the test ends at the latest. Resolves when it has started the store. */
export async function storeProcess(path: string, mode: 'hold' | 'churn'): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('store-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, path, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => kill9(child));
  await once(child.stdout, 'data');
  return child;
}

export async function kill9(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** Time that stands still until it is moved; who sleeps wakes in order. */
export class FakeClock implements Clock {
  #nowMs = 1_800_000_000_000;
  readonly #sleepers = new Set<{ readonly dueMs: number; readonly wake: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  async sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sleeper = { dueMs: this.#nowMs + delayMs, wake: resolve };
    const abort = () => reject(signal.reason);
    this.#sleepers.add(sleeper);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      this.#sleepers.delete(sleeper);
      signal.removeEventListener('abort', abort);
    }
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
    for (const sleeper of [...this.#sleepers]) if (sleeper.dueMs <= this.#nowMs) sleeper.wake();
  }
}
