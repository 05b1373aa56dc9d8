import { MemoryBlobStore } from '../../src/store/memory-blob-store.ts';
import { blobStoreConformance } from './blob-store.ts';

blobStoreConformance('memory blob store', {
  setup: async ({ maxBytes }) => {
    const store = new MemoryBlobStore({ maxBytes });
    await store.start();
    return store;
  },
  teardown: (store) => store.stop(),
});
