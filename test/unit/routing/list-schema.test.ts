import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { claimsRequestSchema } from '../../../src/pull/claims/messages.ts';
import { indexRequestSchema } from '../../../src/routing/index-messages.ts';
import { listOf } from '../../../src/routing/list-schema.ts';
import { rosterRequestSchema } from '../../../src/routing/roster-messages.ts';

describe('a list that others send', () => {
  const numbers = listOf(z.number(), 3);

  it('is taken up to its length, and as its items are read', () => {
    expect(numbers.parse([1, 2, 3])).toEqual([1, 2, 3]);
    expect(listOf(z.object({ a: z.number() }), 1).parse([{ a: 1, b: 2 }])).toEqual([{ a: 1 }]);
    for (const wrong of [[1, 2, 3, 4], [1, 'x'], 'x', undefined, { length: 1 }]) {
      expect(numbers.safeParse(wrong).success).toBe(false);
    }
    expect(z.object({ list: numbers.optional() }).parse({})).toEqual({});
  });

  it('is refused for its first wrong item, however many there are', () => {
    const others = Array(1_000).fill(1);
    const entries = Array(50).fill({ peerId: 'an-agents-id', digests: { sha256: '', others } });
    const handover = indexRequestSchema.safeParse({ type: 'handover', entries, tags: [] });
    expect(handover.error?.issues.length).toBe(1);
    const copies = Array(10).fill({ key: 'blob:x', holders: [], tree: Array(1_000).fill(1), failures: [] });
    const copied = claimsRequestSchema.safeParse({ type: 'copies', copies });
    expect(copied.error?.issues.length).toBe(1);
    const mend = { type: 'mend', give: Array(1_000).fill({}), want: [], dead: Array(1_000).fill([1, 2, 3]) };
    expect(rosterRequestSchema.safeParse(mend).error?.issues.length).toBe(2);
  });
});
