import { describe, expect, test } from 'vitest';
import { SlowParent } from '../../../src/pull/slow-parent.ts';
import { MIB } from './pull-fixture.ts';

const LARGE = 100 * MIB;

/** Asks every 50 ms, from `fromMs` to `toMs`; rates are bytes a ms. @returns when it first was slow */
function firstSlow(
  parent: SlowParent,
  { ours, theirs, ahead, toMs }: { ours: number; theirs: number; ahead: number; toMs: number },
): number | undefined {
  for (let ms = 0; ms <= toMs; ms += 50) if (parent.isSlow(ms, ours * ms, ahead + theirs * ms)) return ms;
  return undefined;
}

describe('a parent is slow', () => {
  test('where its child is far behind, and gets less than 0.3 of its rate; not before 0.4 s', () => {
    const rates = { theirs: 10_000, ahead: 5 * MIB, toMs: 5_000 };
    expect(firstSlow(new SlowParent(LARGE, 0), { ...rates, ours: 2_900 })).toBe(400);
    expect(firstSlow(new SlowParent(LARGE, 0), { ...rates, ours: 3_100 })).toBeUndefined();
  });

  test('only when its child is 4 MiB behind; 1 MiB of a small blob', () => {
    const rates = { ours: 0, theirs: 5_000, ahead: 0 };
    expect(firstSlow(new SlowParent(LARGE, 0), { ...rates, toMs: 5_000 })).toBe(850);
    expect(firstSlow(new SlowParent(undefined, 0), { ...rates, toMs: 5_000 })).toBe(850);
    expect(firstSlow(new SlowParent(63 * MIB, 0), { ...rates, toMs: 5_000 })).toBe(400);
  });

  test('not where it waits for its own source, or has all there is', () => {
    expect(firstSlow(new SlowParent(LARGE, 0), { ours: 0, theirs: 0, ahead: 50 * MIB, toMs: 5_000 })).toBeUndefined();
    expect(firstSlow(new SlowParent(LARGE, 0), { ours: 100, theirs: 100, ahead: 0, toMs: 5_000 })).toBeUndefined();
  });

  test('by what was in the last quarter of a second, whatever was before', () => {
    const parent = new SlowParent(LARGE, 0);
    let position = 0;
    let ms = 0;
    for (; ms < 3_000; ms += 50) {
      position = 10_000 * ms;
      expect(parent.isSlow(ms, position, position + 5 * MIB)).toBe(false);
    }
    const slowAt = Array.from({ length: 10 }, (_, i) => i * 50).find((more) =>
      parent.isSlow(ms + more, position, 10_000 * (ms + more) + 5 * MIB),
    );
    expect(slowAt).toBeLessThanOrEqual(250);
  });
});
