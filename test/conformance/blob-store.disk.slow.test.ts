import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, expect } from 'vitest';
import type { BlobStore } from '../../src/store/blob-store.ts';
import { DiskBlobStore } from '../../src/store/disk-blob-store.ts';
import { filesOf } from '../support/store-files.ts';
import { blobStoreConformance } from './blob-store.ts';

const folders = new Map<BlobStore, string>();

blobStoreConformance('disk blob store', {
  setup: async ({ maxBytes }) => {
    const path = await mkdtemp(join(tmpdir(), 'windlass-store-'));
    const store = new DiskBlobStore({ path, maxBytes, logger: pino({ level: 'silent' }) });
    folders.set(store, path);
    await store.start();
    return store;
  },
  // Whatever a case did: what the store says it holds is what is on the disk, to the byte.
  teardown: async (store) => {
    const path = folders.get(store);
    if (path === undefined) return;
    await store.stop();
    try {
      const { blobs, blobBytes, ingestBytes } = await filesOf(path);
      expect(store.stats()).toMatchObject({ blobs, blobBytes, ingestBytes });
    } finally {
      folders.delete(store);
      await rm(path, { recursive: true });
    }
  },
});

afterEach(() => expect(folders.size).toBe(0));
