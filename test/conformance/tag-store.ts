import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDigest } from '../../src/oci/digest.ts';
import type { TagRecord, TagStore } from '../../src/store/tag-store.ts';

export interface TagStoreFactory {
  setup(): Promise<TagStore>;
  teardown(): Promise<void>;
}

export const redis = { registry: 'docker.io', repository: 'library/redis' };

export function tagRecord(fill: string, checkedAtMs = 1_700_000_000_000): TagRecord {
  return {
    digest: parseDigest(`sha256:${fill.repeat(64)}`),
    mediaType: 'application/vnd.oci.image.index.v1+json',
    sizeBytes: 1234,
    checkedAtMs,
  };
}

/** The rules of TagStore. */
export function tagStoreConformance(name: string, factory: TagStoreFactory): void {
  describe(name, () => {
    let tags: TagStore;
    beforeEach(async () => {
      tags = await factory.setup();
    });
    afterEach(() => factory.teardown());

    it('remembers what a tag named, and nothing of others', async () => {
      expect(await tags.get(redis, '7')).toBeUndefined();
      await tags.set(redis, '7', tagRecord('a'));
      expect(await tags.get(redis, '7')).toEqual(tagRecord('a'));
      expect(await tags.get(redis, '8')).toBeUndefined();
      expect(await tags.get({ ...redis, registry: 'quay.io' }, '7')).toBeUndefined();
      expect(await tags.get({ ...redis, repository: 'library' }, '7')).toBeUndefined();
    });

    it('replaces a record, also when many are set at once: the last call wins', async () => {
      await Promise.all(['a', 'b', 'c', 'd'].map((fill) => tags.set(redis, '7', tagRecord(fill))));
      expect(await tags.get(redis, '7')).toEqual(tagRecord('d'));
    });

    it('deletes, and says whether there was something', async () => {
      await tags.set(redis, '7', tagRecord('a'));
      expect(await tags.delete(redis, '7')).toBe(true);
      expect(await tags.delete(redis, '7')).toBe(false);
      expect(await tags.get(redis, '7')).toBeUndefined();
    });

    it('lists what it remembers, no more than asked for', async () => {
      expect(await tags.list(10)).toEqual([]);
      const local = { registry: 'registry.local:5000', repository: 'a/b' };
      await tags.set(redis, '7', tagRecord('a'));
      await tags.set(local, 'v1', tagRecord('b'));
      await tags.set(redis, '8', tagRecord('c'));
      await tags.delete(redis, '8');
      const listed = [...(await tags.list(10))].sort((a, b) => a.tag.localeCompare(b.tag));
      expect(listed).toEqual([
        { name: redis, tag: '7', record: tagRecord('a') },
        { name: local, tag: 'v1', record: tagRecord('b') },
      ]);
      expect(await tags.list(1)).toHaveLength(1);
    });

    it('gives a time in the future as it is: as now it would be fresh until the clock has come there', async () => {
      const record = tagRecord('a', Date.now() + 365 * 86_400_000);
      await tags.set(redis, '7', record);
      expect(await tags.get(redis, '7')).toEqual(record);
    });
  });
}
