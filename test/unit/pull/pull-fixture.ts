import { pino } from 'pino';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import type { BlobReader } from '../../../src/pull/blob-reader.ts';
import { Ingest, type IngestOptions } from '../../../src/pull/ingest.ts';
import type { BlobStore } from '../../../src/store/blob-store.ts';
import { MemoryBlobStore } from '../../../src/store/memory-blob-store.ts';
import type { Registries, RegistryClient } from '../../../src/upstream/registry-client.ts';
import { digestOf, type ScriptedSource } from './scripted-source.ts';

export const ORIGIN: RepositoryName = { registry: 'docker.io', repository: 'library/one' };
export const OTHER: RepositoryName = { registry: 'ghcr.io', repository: 'two' };
export const logger = pino({ level: 'silent' });
export const forever = new AbortController().signal;
export const MIB = 1024 * 1024;

export async function startedStore(maxBytes = 1024 * MIB): Promise<BlobStore> {
  const store = new MemoryBlobStore({ maxBytes });
  await store.start();
  return store;
}

/** Puts a blob into a store. */
export async function keep(store: BlobStore, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(digestOf(bytes));
  await writer.write([bytes]);
  await writer.verify();
  await writer.commit();
  await writer.close();
}

export interface RunningIngest {
  readonly ingest: Ingest;
  readonly ended: ReturnType<Ingest['run']>;
  readonly store: BlobStore;
  readonly metrics: Metrics;
  /** A reader that counts as the first. */
  join(position?: number, origin?: RepositoryName, promisedBytes?: number): BlobReader;
}

/** An ingest of `bytes`, running, and released at its end as Blobs does. */
export async function runIngest(
  bytes: Uint8Array,
  sources: readonly ScriptedSource[],
  options: Partial<IngestOptions> = {},
): Promise<RunningIngest> {
  const store = options.store ?? (await startedStore());
  const metrics = new Metrics();
  const ingest = new Ingest({
    id: 'test',
    digest: digestOf(bytes),
    origin: ORIGIN,
    sizeBytes: bytes.length,
    sources,
    finishLimitBytes: 1024 * MIB,
    logger,
    metrics,
    ...options,
    store,
  });
  const ended = ingest.run().finally(() => ingest.release());
  return {
    ingest,
    ended,
    store,
    metrics,
    join(position = 0, origin = ORIGIN, promisedBytes = undefined) {
      const reader = ingest.join(origin, position, { first: false, promisedBytes });
      if (reader === undefined) throw new Error('cannot be joined there');
      return reader;
    },
  };
}

/** Reads to the end, then leaves; what it got before a failure is in `got`. */
export async function readAll(
  reader: BlobReader,
  options: { position?: number; bufferBytes?: number; got?: Buffer[]; signal?: AbortSignal } = {},
): Promise<Buffer> {
  const { bufferBytes = 64 * 1024, got = [], signal = forever } = options;
  let { position = 0 } = options;
  try {
    while (await reader.wait(position, signal)) {
      const buffer = Buffer.alloc(bufferBytes);
      const count = await reader.read(buffer, position);
      if (count < 1) throw new Error('read nothing');
      got.push(buffer.subarray(0, count));
      position += count;
    }
    return Buffer.concat(got);
  } finally {
    reader.close();
  }
}

/** Until the test ends, or real timers are used again. */
export function useFakeClock(): void {
  vi.useFakeTimers({ toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout'] });
  // At 0 lru-cache has no time.
  vi.advanceTimersByTime(10);
}

/** What a promise rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`resolved with ${String(value).slice(0, 80)}`);
    },
    (error: unknown) => error,
  );
}

/** Lets everything that is ready happen: promises, and what they set off. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Registries of which only the given calls answer. */
export function scriptedRegistries(client: Partial<RegistryClient>): Registries {
  const missing = async () => {
    throw new WindlassError('NOT_FOUND', 'not scripted');
  };
  return {
    get(host) {
      if (host === 'denied.example') throw new WindlassError('REGISTRY_DENIED', host);
      return {
        host,
        label: host,
        credentialsFingerprint: async () => undefined,
        headManifest: missing,
        getManifest: missing,
        headBlob: missing,
        getBlob: missing,
        relay: missing,
        ...client,
      };
    },
    allows: (host) => host !== 'denied.example',
    close: async () => {},
  };
}

/** Each test of the file fails if a promise was rejected with nobody there to see it. */
export function failOnUnhandledRejections(): void {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  beforeEach(() => {
    unhandled.length = 0;
    process.on('unhandledRejection', onUnhandled);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await settle();
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });
}
