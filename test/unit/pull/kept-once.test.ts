import { expect, test } from 'vitest';
import { KeptOnce } from '../../../src/pull/kept-once.ts';
import { eventually } from '../../support/eventually.ts';
import { keep, logger, ORIGIN, startedStore } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const [SETTLED, RECENT, ALONE] = [Buffer.from('settled'), Buffer.from('recent'), Buffer.from('alone')];

test('the store drops what containerd has held for some time, and nothing else', async () => {
  const store = await startedStore();
  for (const bytes of [SETTLED, RECENT, ALONE]) await keep(store, bytes);
  const heldFor = (bytes: Uint8Array, ms: number) =>
    [digestOf(bytes), { sizeBytes: bytes.length, createdMs: Date.now() - ms, sources: [ORIGIN] }] as const;
  const held = new Map([heldFor(SETTLED, 700_000), heldFor(RECENT, 100_000)]);

  const keptOnce = new KeptOnce({ store, content: held, logger, timing: { every: 5, settled: 600_000 } });

  const left = () => [...store.list()].map(({ digest }) => digest).sort();
  await eventually(() => left().length < 3);
  await keptOnce.stop();
  expect(left()).toEqual([digestOf(RECENT), digestOf(ALONE)].sort());
});
