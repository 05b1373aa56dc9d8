import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { DiskTagStore } from '../../src/store/disk-tag-store.ts';
import { tagStoreConformance } from './tag-store.ts';

let path: string;

tagStoreConformance('disk tag store', {
  setup: async () => {
    path = await mkdtemp(join(tmpdir(), 'windlass-tags-'));
    return new DiskTagStore({ path, logger: pino({ level: 'silent' }) });
  },
  teardown: () => rm(path, { recursive: true }),
});
