import { createHash } from 'node:crypto';
import { assert, integer, property, string, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Kademlia } from '../../../src/routing/kademlia.ts';
import { simulatedPeerId } from './roster-simulation.ts';

const position = (text: string) => BigInt(`0x${createHash('sha256').update(text).digest('hex')}`);

/** By all 256 bits. */
function closestOf(peerIds: readonly string[], key: string, count: number): string[] {
  const at = position(key);
  const far = (peerId: string) => position(peerId) ^ at;
  return [...peerIds].sort((a, b) => (far(a) < far(b) ? -1 : 1)).slice(0, count);
}

describe("Kademlia's metric", () => {
  test('names the nearest first, whatever the order of members', () => {
    assert(
      property(
        uniqueArray(integer({ min: 1, max: 10_000 }), { maxLength: 60 }),
        string(),
        integer({ min: 1, max: 5 }),
        (numbers, key, count) => {
          const peerIds = numbers.map(simulatedPeerId);
          const [one, other] = [new Kademlia(), new Kademlia()];
          one.replace(peerIds);
          other.replace([...peerIds].reverse());
          const expected = closestOf(peerIds, key, count);
          expect(one.closest(key, count)).toEqual(expected);
          expect(other.closest(key, count)).toEqual(expected);
        },
      ),
    );
  });

  test('a peer is nearest to itself', () => {
    const ring = new Kademlia();
    ring.replace([1, 2, 3, 4, 5].map(simulatedPeerId));
    expect(ring.closest(simulatedPeerId(3), 2)[0]).toBe(simulatedPeerId(3));
  });

  test('a kept answer is not given after the members changed', () => {
    const ring = new Kademlia();
    const peerIds = [1, 2, 3, 4, 5].map(simulatedPeerId);
    ring.replace(peerIds);
    const [keeper, deputy] = ring.closest('blob:x', 3);
    ring.replace(peerIds.filter((peerId) => peerId !== keeper));
    expect(ring.closest('blob:x', 3)[0]).toBe(deputy);
    ring.replace([]);
    expect(ring.closest('blob:x', 3)).toEqual([]);
  });

  test('the keys of a cluster are spread over its members', () => {
    const ring = new Kademlia();
    ring.replace(Array.from({ length: 16 }, (_, number) => simulatedPeerId(number)));
    const kept = new Map<string, number>();
    for (let key = 0; key < 4_000; key += 1) {
      const [keeper = ''] = ring.closest(`blob:${key}`, 3);
      kept.set(keeper, (kept.get(keeper) ?? 0) + 1);
    }
    expect(kept.size).toBe(16);
  });
});
