import { expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { knownTags } from '../../../src/pull/known-tags.ts';
import { bytesOf, digestOf } from './scripted-source.ts';

test('a tag of a registry that is not on the list any more keeps no other tag from the keepers', async () => {
  const record = {
    digest: parseDigest(digestOf(bytesOf(10))),
    mediaType: 'application/vnd.oci.image.index.v1+json',
    sizeBytes: 10,
    checkedAtMs: Date.now() - 5_000,
  };
  const named = (registry: string) => ({ name: { registry, repository: 'a/b' }, tag: '7', record });
  const told = await knownTags(
    { list: async () => [named('gone.example'), named('docker.io')] },
    {
      tagKey: async ({ registry, repository }, tag) => {
        if (registry === 'gone.example') throw new WindlassError('REGISTRY_DENIED', registry);
        return `tag:${registry}/${repository}:${tag}`;
      },
    },
  );
  expect(told.map(({ key }) => key)).toEqual(['tag:docker.io/a/b:7']);
  expect(told[0]?.ageMs).toBeGreaterThanOrEqual(5_000);
  expect(JSON.parse(Buffer.from(told[0]?.bytes ?? '').toString())).not.toHaveProperty('checkedAtMs');
});
