import { expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { KeptOnce } from '../../../src/pull/kept-once.ts';
import { eventually } from '../../support/eventually.ts';
import { keep, logger, ORIGIN, startedStore } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const [SETTLED, RECENT, ALONE, UNSOUND] = ['settled', 'recent', 'alone', 'unsound'].map((text) =>
  Buffer.from(text),
) as [Buffer, Buffer, Buffer, Buffer];

/** What containerd has held for so many ms, and what is asked about it. */
function contentOf(ages: readonly (readonly [Uint8Array, number])[], isSound: (digest: Digest) => Promise<boolean>) {
  const held = ages.map(
    ([bytes, ms]) =>
      [digestOf(bytes), { sizeBytes: bytes.length, createdMs: Date.now() - ms, sources: [ORIGIN] }] as const,
  );
  return { entries: () => new Map(held).entries(), isSound };
}

const TIMING = { every: 5, settled: 600_000 };

test('the store drops what containerd has held for some time and can be served from there, and nothing else', async () => {
  const store = await startedStore();
  for (const bytes of [SETTLED, RECENT, ALONE, UNSOUND]) await keep(store, bytes);
  const asked: Digest[] = [];
  const ages = [
    [UNSOUND, 700_000],
    [SETTLED, 700_000],
    [RECENT, 100_000],
  ] as const;
  const content = contentOf(ages, async (digest) => {
    asked.push(digest);
    return digest !== digestOf(UNSOUND);
  });

  const keptOnce = new KeptOnce({ store, content, logger, timing: TIMING });

  const left = () => [...store.list()].map(({ digest }) => digest).sort();
  // Asked again, it is none the better.
  await eventually(() => asked.filter((digest) => digest === digestOf(UNSOUND)).length > 2);
  await keptOnce.stop();
  expect(left()).toEqual([RECENT, ALONE, UNSOUND].map((bytes) => digestOf(bytes)).sort());
  expect(asked).not.toContain(digestOf(RECENT));
});

test('stop ends it between two blobs', async () => {
  const store = await startedStore();
  for (const bytes of [SETTLED, UNSOUND]) await keep(store, bytes);
  const answer = Promise.withResolvers<boolean>();
  const asked = Promise.withResolvers<void>();
  const content = contentOf(
    [
      [SETTLED, 700_000],
      [UNSOUND, 700_000],
    ],
    () => {
      asked.resolve();
      return answer.promise;
    },
  );
  const keptOnce = new KeptOnce({ store, content, logger, timing: TIMING });
  await asked.promise;
  const stopped = keptOnce.stop();
  answer.resolve(true);
  await stopped;
  expect([...store.list()]).toHaveLength(2);
});
