import { expect, test } from 'vitest';
import { CallTurns } from '../../../src/routing/call-turns.ts';

const signal = new AbortController().signal;

test('each waits for the one before it, to the same peer alone', async () => {
  const turns = new CallTurns();
  const gate = Promise.withResolvers<void>();
  const order: string[] = [];
  const call = (name: string, after?: Promise<void>) => async () => {
    order.push(`${name} begins`);
    await after;
    order.push(`${name} ends`);
  };
  const all = [
    turns.take('a', signal, call('first', gate.promise)),
    turns.take('a', signal, call('second')),
    turns.take('b', signal, call('other')),
  ];
  await all[2];
  gate.resolve();
  await Promise.all(all);
  expect(order).toEqual(['first begins', 'other begins', 'other ends', 'first ends', 'second begins', 'second ends']);
});

test.each(['before', 'meanwhile'])('nothing is begun, nor waited for, where the signal came %s', async (when) => {
  const turns = new CallTurns();
  const gate = Promise.withResolvers<void>();
  const running = turns.take('a', signal, () => gate.promise);
  const leaving = new AbortController();
  if (when === 'before') leaving.abort();
  let begun = false;
  const late = turns.take('a', leaving.signal, async () => {
    begun = true;
  });
  leaving.abort();
  expect(await late).toBeUndefined();
  gate.resolve();
  await running;
  await turns.take('a', signal, async () => {});
  expect(begun).toBe(false);
});
