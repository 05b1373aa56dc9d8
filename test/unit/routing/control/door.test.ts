import type { MultiaddrConnection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { Metrics } from '../../../../src/metrics/metrics.ts';
import { Door } from '../../../../src/routing/control/door.ts';
import { Refusals } from '../../../../src/routing/control/refusals.ts';
import { EventQueue } from '../../../support/event-queue.ts';

const ADDRESS = '/ip4/127.0.0.1/tcp/5052';

/** What of a raw connection the door looks at. */
class Wire extends EventTarget {
  status: 'open' | 'aborted' = 'open';
  readonly remoteAddr = multiaddr(ADDRESS);

  abort(): void {
    if (this.status !== 'open') return;
    this.status = 'aborted';
    this.dispatchEvent(new Event('close'));
  }
}

const wire = () => new Wire() as unknown as MultiaddrConnection;

function door(self: string, timers = new EventQueue()) {
  const logger = pino({ level: 'silent' });
  return new Door({
    self,
    timers,
    refusals: new Refusals({ metrics: new Metrics(), logger, timers }),
    changed: () => {},
  });
}

describe('two agents that dial each other at once keep the connection of the smaller peer id', () => {
  // ab: dialled by a. Both ends let both in, in any order.
  const orders = permutations(['ab at a', 'ab at b', 'ba at a', 'ba at b'] as const);

  describe.each([
    { closes: 'heard at once', late: false },
    { closes: 'heard late', late: true },
  ])('closes $closes', ({ late }) => {
    test.each(orders.map((order) => ({ order, name: order.join(', ') })))('$name', async ({ order }) => {
      const timers = new EventQueue();
      const doors = { a: door('a', timers), b: door('b', timers) };
      const wires = { ab: { a: wire(), b: wire() }, ba: { a: wire(), b: wire() } };
      for (const ends of Object.values(wires)) {
        const closes = (end: MultiaddrConnection) => timers.after(late ? 100 : 1, () => end.abort(new Error('closed')));
        ends.a.addEventListener('close', () => closes(ends.b));
        ends.b.addEventListener('close', () => closes(ends.a));
      }
      for (const [index, place] of order.entries()) {
        timers.after(index * 10, () => {
          const [dial, at] = place.split(' at ') as ['ab' | 'ba', 'a' | 'b'];
          const connection = wires[dial][at];
          const peer = at === 'a' ? 'b' : 'a';
          const isIn = dial.startsWith(at)
            ? doors[at].enterOutgoing(connection, peer)
            : doors[at].enterIncoming(connection, peer);
          if (!isIn) connection.abort(new Error('not let in'));
        });
      }
      await timers.run(1_000);
      expect([wires.ab.a.status, wires.ab.b.status]).toEqual(['open', 'open']);
      expect([wires.ba.a.status, wires.ba.b.status]).toEqual(['aborted', 'aborted']);
      expect([doors.a.count, doors.b.count]).toEqual([1, 1]);
      expect([doors.a.outgoing, doors.b.outgoing]).toEqual([1, 0]);
    });
  });
});

test('a connection that has closed before it was let in takes the place of none', () => {
  const [a, z] = [door('a'), door('z')];
  const [dialled, taken, gone] = [wire(), wire(), wire()];
  gone.abort(new Error('gone'));
  expect(a.enterIncoming(taken, 'b')).toBe(true);
  expect(a.enterOutgoing(gone, 'b')).toBe(false);
  expect(a.takeNote(ADDRESS)).toEqual({ verdict: 'known', peerId: 'b' });
  expect(a.enterOutgoing(gone, 'c')).toBe(false);
  expect(z.enterOutgoing(dialled, 'b')).toBe(true);
  expect(z.enterIncoming(gone, 'b')).toBe(false);
  expect([taken.status, dialled.status]).toEqual(['open', 'open']);
});

test('what is dialled is closed again where that peer has been connected for longer', async () => {
  const timers = new EventQueue();
  const own = door('a', timers);
  const [old, dialled] = [wire(), wire()];
  expect(own.enterIncoming(old, 'b')).toBe(true);
  await timers.run(10_000);
  expect(own.enterOutgoing(dialled, 'b')).toBe(false);
  expect(own.takeNote(ADDRESS)).toEqual({ verdict: 'known', peerId: 'b' });
  expect(old.status).toBe('open');
});

test('who dials although it is connected has lost that connection: the old one goes, whoever dialled it', async () => {
  const timers = new EventQueue();
  const own = door('a', timers);
  const [old, again] = [wire(), wire()];
  expect(own.enterOutgoing(old, 'b')).toBe(true);
  await timers.run(10_000);
  expect(own.enterIncoming(again, 'b')).toBe(true);
  expect(old.status).toBe('aborted');
  expect([own.count, own.outgoing]).toEqual([1, 0]);
});

function permutations<T>(items: readonly T[]): readonly (readonly T[])[] {
  if (items.length < 2) return [items];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}
