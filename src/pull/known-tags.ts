import type { KnownTag } from '../routing/kept.ts';
import type { TagStore } from '../store/tag-store.ts';
import type { Swarm } from './swarm.ts';

/** More tags of one agent no keeper is told. */
const MAX_TAGS = 10_000;

/**
 * The tags whose answers are known here, as keepers are told of them. Left out are those whose key cannot be told any
 * more: their registry is not on the list since the last start, or its credentials cannot be read.
 */
export async function knownTags(tags: Pick<TagStore, 'list'>, swarm: Pick<Swarm, 'tagKey'>): Promise<KnownTag[]> {
  const found = await Promise.all(
    (await tags.list(MAX_TAGS)).map(async ({ name, tag, record }) => {
      const { digest, mediaType, sizeBytes, checkedAtMs } = record;
      const key = await swarm.tagKey(name, tag).catch(() => undefined);
      const bytes = Buffer.from(JSON.stringify({ digest, mediaType, sizeBytes }));
      return key === undefined ? [] : [{ key, bytes, ageMs: Math.max(0, Date.now() - checkedAtMs) }];
    }),
  );
  return found.flat();
}
