import { expect, test } from 'vitest';
import { Turns } from '../../../../src/pull/claims/turns.ts';
import { EventQueue } from '../../../support/event-queue.ts';

const forever = new AbortController().signal;

function start() {
  const queue = new EventQueue();
  const turns = new Turns(queue);
  const taken: string[] = [];
  const take = (name: string, signal = forever) =>
    turns.take(signal).then(
      (done) => {
        taken.push(`${name} at ${queue.now()}`);
        return done;
      },
      () => {
        taken.push(`${name} left`);
        return undefined;
      },
    );
  return { queue, taken, take };
}

test('one after the other, as they are answered', async () => {
  const { queue, taken, take } = start();
  const [first, second] = [take('first'), take('second')];
  void take('third');
  await queue.run(100);
  expect(taken).toEqual(['first at 0']);
  (await first)?.();
  await queue.run(110);
  expect(taken).toHaveLength(2);
  (await second)?.();
  await queue.run(120);
  expect(taken).toHaveLength(3);
});

test('one that is never answered holds up the next ones for 150 ms, once', async () => {
  const { queue, taken, take } = start();
  for (const name of ['first', 'second', 'third']) void take(name);
  await queue.run(149);
  expect(taken).toEqual(['first at 0']);
  await queue.run(200);
  expect(taken).toEqual(['first at 0', 'second at 150', 'third at 150']);
});

test('what is given up holds up nobody', async () => {
  const { queue, taken, take } = start();
  void take('first');
  const leaving = new AbortController();
  void take('second', leaving.signal);
  await queue.run(10);
  leaving.abort(new Error('left'));
  await queue.run(20);
  expect(taken).toEqual(['first at 0', 'second left']);
  void take('third');
  await queue.run(30);
  expect(taken).toEqual(['first at 0', 'second left', 'third at 20']);
});
