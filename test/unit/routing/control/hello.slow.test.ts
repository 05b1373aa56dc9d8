import { afterEach, beforeEach, expect, test } from 'vitest';
import { WIRE_VERSION } from '../../../../src/routing/member.ts';
import { startControl } from '../../../support/control-cluster.ts';
import { eventually } from '../../../support/eventually.ts';
import { Scratch } from '../../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

const signal = () => AbortSignal.timeout(20_000);

test.each([
  ['older', WIRE_VERSION - 1],
  ['newer', WIRE_VERSION + 1],
])('an agent that is one wire version %s is talked to', async (_, wireVersion) => {
  const mine = await startControl(scratch);
  const theirs = await startControl(scratch, { wireVersion });
  await theirs.control.dial(mine.address, { signal: signal() });
  await eventually(() => mine.control.peers.length === 1 && theirs.control.peers.length === 1);
  expect(mine.hellos[0]?.entry.entry).toContain(`"wireVersion":${wireVersion}`);
});

test.each([
  ['dials', true],
  ['is dialled', false],
])('an agent two wire versions on that %s is refused by both, and both say why', async (_, dials) => {
  const mine = await startControl(scratch);
  const theirs = await startControl(scratch, { wireVersion: WIRE_VERSION + 2 });
  const [from, to] = dials ? [theirs, mine] : [mine, theirs];
  await from.control.dial(to.address, { signal: signal() }).catch(() => {});
  await eventually(async () => (await mine.refused('version')) === 1 && (await theirs.refused('version')) === 1);
  await eventually(() => mine.control.connections === 0 && theirs.control.connections === 0);
  expect([...mine.hellos, ...theirs.hellos]).toEqual([]);
  expect(mine.control.peers).toEqual([]);
  expect(mine.logs).toContainEqual(
    expect.objectContaining({
      msg: 'connection of another refused',
      reason: 'version',
      why: expect.stringContaining(`wire version ${WIRE_VERSION + 2}, this agent ${WIRE_VERSION}`),
    }),
  );
});

test.each([
  ['of another peer', 'other'],
  ['that is not signed', 'unsigned'],
  ['that makes no sense', 'nonsense'],
])('a hello with an entry %s closes the connection', async (_, how) => {
  const mine = await startControl(scratch);
  const honest = await startControl(scratch);
  await honest.control.dial(mine.address, { signal: signal() });
  const entry = (await eventually(() => mine.hellos[0])).entry;
  const liar = await startControl(scratch, {
    selfEntry: () => {
      if (how === 'other') return entry;
      return how === 'unsigned' ? { ...entry, signature: 'AAAA' } : { entry: 'x'.repeat(5_000), signature: '' };
    },
  });
  await liar.control.dial(mine.address, { signal: signal() }).catch(() => {});
  await eventually(async () => (await mine.refused('nonsense')) === 1);
  await eventually(() => mine.control.connections === 1);
  expect(mine.control.peers).toEqual([honest.identity.peerId]);
  expect(mine.hellos).toHaveLength(1);
});

test('a peer that goes is noticed', async () => {
  const mine = await startControl(scratch);
  const theirs = await startControl(scratch);
  await theirs.control.dial(mine.address, { signal: signal() });
  await eventually(() => mine.control.peers.length === 1);
  await theirs.control.stop();
  await eventually(() => mine.disconnects.length === 1);
  expect(mine.disconnects).toEqual([theirs.identity.peerId]);
  expect(mine.control.peers).toEqual([]);
  expect(mine.control.connections).toBe(0);
});

test('agents that dial each other at once are connected, by one connection, and need no second attempt', async () => {
  // Who has no connection at all tries again at once.
  const third = await startControl(scratch);
  const pairs = await Promise.all(
    Array.from({ length: 8 }, async () => [await startControl(scratch), await startControl(scratch)] as const),
  );
  for (const node of pairs.flat()) await node.control.dial(third.address, { signal: signal() });
  await Promise.all(
    pairs.map(async ([one, two]) => {
      await Promise.allSettled([
        one.control.dial(two.address, { signal: signal() }),
        two.control.dial(one.address, { signal: signal() }),
      ]);
      await eventually(() => one.control.peers.includes(two.identity.peerId));
      await eventually(() => two.control.peers.includes(one.identity.peerId));
      await eventually(() => one.control.connections === 2 && two.control.connections === 2);
    }),
  );
});
