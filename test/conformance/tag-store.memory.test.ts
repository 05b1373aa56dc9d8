import { MemoryTagStore } from '../../src/store/memory-tag-store.ts';
import { tagStoreConformance } from './tag-store.ts';

tagStoreConformance('memory tag store', {
  setup: async () => new MemoryTagStore(),
  teardown: async () => undefined,
});
