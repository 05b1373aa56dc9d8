import { expect, test } from 'vitest';
import { parseDigest } from '../../../src/oci/digest.ts';
import { type EndedIngest, RecentIngests } from '../../../src/pull/recent-ingests.ts';

const ENDED: EndedIngest = {
  pull: 'p',
  origin: { registry: 'docker.io', repository: 'library/one' },
  digest: parseDigest(`sha256:${'a'.repeat(64)}`),
  writtenBytes: 1,
  state: 'committed',
  code: undefined,
  source: 'peer',
  parents: [],
  times: { claim: 0, firstByte: 0, transfer: 0, verify: 0, commit: 0 },
  endedAtMs: 0,
};

const sequences = (recent: RecentIngests, since: number) => recent.since(since).map(({ sequence }) => sequence);

test('those since a number, the oldest first', () => {
  const recent = new RecentIngests();
  expect(recent.since(0)).toEqual([]);
  for (let i = 0; i < 3; i++) recent.add(ENDED);
  expect(sequences(recent, 0)).toEqual([1, 2, 3]);
  expect(sequences(recent, 2)).toEqual([3]);
  expect(sequences(recent, 3)).toEqual([]);
  expect(sequences(recent, 99)).toEqual([]);
});

test('only the last 500 are remembered', () => {
  const recent = new RecentIngests();
  for (let i = 0; i < 1_234; i++) recent.add(ENDED);
  expect(recent.since(0)).toHaveLength(500);
  expect(recent.since(0).at(0)?.sequence).toBe(735);
  expect(sequences(recent, 1_232)).toEqual([1_233, 1_234]);
});
