import { afterEach, beforeEach, expect, test } from 'vitest';
import { startControl, startControls } from '../../../support/control-cluster.ts';
import { eventually } from '../../../support/eventually.ts';
import { Scratch } from '../../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const digest = `sha256:${'ab'.repeat(32)}`;
const signal = AbortSignal.timeout(60_000);

test('who provides a digest is found by others', async () => {
  const [one, two, three] = await startControls(scratch, 3, 1);
  if (one === undefined || two === undefined || three === undefined) throw new Error('no nodes');
  await eventually(() => [one, two, three].every(({ control }) => control.peers.length === 2));
  const found = await eventually(
    async () => {
      two.control.dht.provide(digest);
      const providers = await three.control.dht.findProviders(digest, { signal });
      return providers.length > 0 && providers;
    },
    { everyMs: 300 },
  );
  expect(found).toEqual([two.identity.peerId]);
  expect(await two.control.dht.findProviders(digest, { signal })).toEqual([]);
  expect(await one.control.dht.findProviders(`sha256:${'cd'.repeat(32)}`, { signal })).toEqual([]);
});

test('a lone agent finds nothing, at once, and provides nothing', async () => {
  const { control } = await startControl(scratch);
  control.dht.provide(digest);
  control.dht.withdraw(digest);
  expect(await control.dht.findProviders(digest, { signal })).toEqual([]);
  expect(await control.dht.findProviders(digest, { signal: AbortSignal.abort() })).toEqual([]);
});
