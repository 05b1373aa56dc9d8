import { afterEach, beforeEach, expect, test } from 'vitest';
import { MAX_NEWS_BYTES } from '../../../../src/routing/control/gossip-news.ts';
import { startControl, type TestControl } from '../../../support/control-cluster.ts';
import { eventually } from '../../../support/eventually.ts';
import { Scratch } from '../../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

interface Heard {
  readonly text: string;
  readonly from: string;
}

function hearing(node: TestControl): Heard[] {
  const heard: Heard[] = [];
  node.control.news.subscribe((bytes, from) => heard.push({ text: Buffer.from(bytes).toString(), from }));
  return heard;
}

/** a ── b ── c: what a says reaches c through b. */
async function line(): Promise<readonly [TestControl, TestControl, TestControl]> {
  const [a, b, c] = [await startControl(scratch), await startControl(scratch), await startControl(scratch)];
  for (const node of [a, c]) await node.control.dial(b.address, { signal: AbortSignal.timeout(20_000) });
  await eventually(() => b.control.peers.length === 2 && a.control.peers.length === 1 && c.control.peers.length === 1);
  return [a, b, c];
}

test('news reaches those that are not connected to its sender, with the sender named, and not the sender', async () => {
  const [a, b, c] = await line();
  const [atA, atB, atC] = [hearing(a), hearing(b), hearing(c)];
  // Lossy until the mesh is there.
  await eventually(
    () => {
      a.control.news.publish(Buffer.from('hauled'));
      return atB.length > 0 && atC.length > 0;
    },
    { everyMs: 300 },
  );
  expect(atC[0]).toEqual({ text: 'hauled', from: a.identity.peerId });
  expect(atB[0]).toEqual({ text: 'hauled', from: a.identity.peerId });
  expect(atA).toEqual([]);
});

test('news that is too long, or too often, is dropped where it is made', async () => {
  const node = await startControl(scratch);
  expect(node.control.news.publish(new Uint8Array(MAX_NEWS_BYTES + 1))).toBe(false);
  const published = Array.from({ length: 100 }, () => node.control.news.publish(Buffer.from('again')));
  expect(published[0]).toBe(true);
  expect(published.filter(Boolean).length).toBeLessThan(25);
});

test('a listener that throws harms nobody, and one that unsubscribed hears nothing', async () => {
  const [a, b] = await line();
  const heard = hearing(b);
  b.control.news.subscribe(() => {
    throw new Error('nonsense');
  });
  const late: unknown[] = [];
  b.control.news.subscribe((bytes) => late.push(bytes))();
  const after = hearing(b);
  await eventually(
    () => {
      a.control.news.publish(Buffer.from('x'));
      return after.length > 0;
    },
    { everyMs: 300 },
  );
  expect(heard.length).toBeGreaterThan(0);
  expect(late).toEqual([]);
});
