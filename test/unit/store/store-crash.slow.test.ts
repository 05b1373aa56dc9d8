import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { filesOf } from '../../support/store-files.ts';
import { kill9, startedStore, storeProcess, temporaryFolder } from './store-fixture.ts';

describe('kill -9 at any moment', () => {
  it('leaves nothing but blobs with their digest, and figures that are those of the files', async () => {
    const path = await temporaryFolder();
    const held = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      const child = await storeProcess(path, 'churn');
      held.clear();
      // Not after a time, which would prove little on a slow machine: after so many commits, somewhere in the next.
      let commits = 0;
      // The child deletes and evicts, too: so many that some are held at its end.
      while ((commits < 8 + round || held.size < 5) && child.stdout !== null) {
        const [text] = (await once(child.stdout, 'data')) as [Buffer];
        for (const line of text.toString().split('\n')) {
          const [digest = '', state] = line.split(' ');
          if (state === 'held') held.add(digest);
        }
        commits += text.toString().split('\n').length - 1;
      }
      await kill9(child);

      const files = await filesOf(path);
      expect(files.wrong).toEqual([]);
      const store = await startedStore(path, { maxBytes: 3_000_000 });
      const { blobs, blobBytes, ingestBytes } = await filesOf(path);
      expect(store.stats()).toMatchObject({ blobs, blobBytes, ingestBytes });
      expect(blobBytes + ingestBytes).toBeLessThanOrEqual(3_000_000);
      // What was said to be held was not lost, but for a few that were deleted or evicted since.
      expect([...store.list()].length).toBeGreaterThan(0);
      expect([...store.list()].some(({ digest }) => held.has(digest))).toBe(true);
      await store.stop();
    }
  });
});
