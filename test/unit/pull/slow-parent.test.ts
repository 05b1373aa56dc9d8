import { describe, expect, test } from 'vitest';
import { SlowParent } from '../../../src/pull/slow-parent.ts';
import { MIB } from './pull-fixture.ts';

const LARGE = 100 * MIB;

/** Asks every 50 ms, from `fromMs` to `toMs`; rates are bytes a ms. @returns when it first was slow */
function firstSlow(
  parent: SlowParent,
  { ours, theirs, ahead, toMs }: { ours: number; theirs: number; ahead: number; toMs: number },
  isWriter?: boolean,
): number | undefined {
  for (let ms = 0; ms <= toMs; ms += 50) {
    parent.told(ms, ahead + theirs * ms);
    if (parent.isSlow(ms, ours * ms, ms, isWriter)) return ms;
  }
  return undefined;
}

describe('a parent is slow', () => {
  test('where its child is far behind, and gets less than 0.3 of its rate, over two windows', () => {
    const rates = { theirs: 10_000, ahead: 5 * MIB, toMs: 5_000 };
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 2_900 })).toBe(500);
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 3_100 })).toBeUndefined();
  });

  test('that writes, where its child gets less than 0.75 of its rate for longer', () => {
    const rates = { theirs: 10_000, ahead: 5 * MIB, toMs: 5_000 };
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 7_400 }, true)).toBe(1_750);
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 7_600 }, true)).toBeUndefined();
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 2_900 }, true)).toBe(500);
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, ours: 7_400 })).toBeUndefined();
    // It may get the right, or lose it, meanwhile.
    const parent = new SlowParent(LARGE, 400);
    expect(firstSlow(parent, { ...rates, ours: 7_400, toMs: 2_000 })).toBeUndefined();
    parent.told(2_050, 5 * MIB + 20_500_000);
    expect(parent.isSlow(2_050, 7_400 * 2_050, 2_050, true)).toBe(false);
    parent.told(2_300, 5 * MIB + 23_000_000);
    expect(parent.isSlow(2_300, 7_400 * 2_300, 2_300, true)).toBe(true);
  });

  test('only when its child is 4 MiB behind; 1 MiB of a small blob', () => {
    const rates = { ours: 0, theirs: 5_000, ahead: 0 };
    expect(firstSlow(new SlowParent(LARGE, 400), { ...rates, toMs: 5_000 })).toBe(1_100);
    expect(firstSlow(new SlowParent(undefined, 400), { ...rates, toMs: 5_000 })).toBe(1_100);
    expect(firstSlow(new SlowParent(63 * MIB, 400), { ...rates, toMs: 5_000 })).toBe(500);
  });

  test('not where it waits for its own source, or has all there is', () => {
    expect(firstSlow(new SlowParent(LARGE, 400), { ours: 0, theirs: 0, ahead: 50 * MIB, toMs: 5_000 })).toBeUndefined();
    expect(firstSlow(new SlowParent(LARGE, 400), { ours: 100, theirs: 100, ahead: 0, toMs: 5_000 })).toBeUndefined();
  });

  test('by what was in the last quarter of a second, whatever was before', () => {
    const parent = new SlowParent(LARGE, 400);
    let position = 0;
    let ms = 0;
    for (; ms < 3_000; ms += 50) {
      position = 10_000 * ms;
      parent.told(ms, position + 5 * MIB);
      expect(parent.isSlow(ms, position, ms)).toBe(false);
    }
    const slowAt = Array.from({ length: 10 }, (_, i) => i * 50).find((more) => {
      parent.told(ms + more, 10_000 * (ms + more) + 5 * MIB);
      return parent.isSlow(ms + more, position, ms + more);
    });
    expect(slowAt).toBeLessThanOrEqual(500);
  });

  test('not where its child does not wait for it', () => {
    const parent = new SlowParent(LARGE, 400);
    for (let ms = 0; ms < 5_000; ms += 50) {
      parent.told(ms, 10_000 * ms + 5 * MIB);
      expect(parent.isSlow(ms, 0, ms / 3)).toBe(false);
    }
  });

  test('before its first piece is whole: it is taken to grow as it did', () => {
    const parent = new SlowParent(20 * MIB, 400);
    for (let ms = 0; ms <= 500; ms += 100) parent.told(ms, 2_000 * ms);
    const slowAt = Array.from({ length: 40 }, (_, i) => 500 + i * 100).find((ms) =>
      parent.isSlow(ms, 40 * (ms - 500), ms),
    );
    expect(slowAt).toBeLessThanOrEqual(1_100);
    // But not for ever: it may be silent because it waits.
    const idle = new SlowParent(LARGE, 400);
    for (let ms = 0; ms <= 500; ms += 100) idle.told(ms, 2_000 * ms);
    for (let ms = 500; ms < 10_000; ms += 100) expect(idle.isSlow(ms, 1_000_000, ms)).toBe(false);
  });

  test('not in its first moments, and not for a pause', () => {
    const rates = { theirs: 10_000, ahead: 5 * MIB, toMs: 5_000, ours: 0 };
    expect(firstSlow(new SlowParent(LARGE, 2_000), rates)).toBe(2_000);
    expect(firstSlow(new SlowParent(LARGE, Number.POSITIVE_INFINITY), rates)).toBeUndefined();
    const pausing = new SlowParent(LARGE, 400);
    let position = 0;
    for (let ms = 0; ms < 5_000; ms += 50) {
      pausing.told(ms, 10_000 * ms + 5 * MIB);
      // Every half second it catches up.
      if (ms % 500 === 0) position = 10_000 * ms;
      expect(pausing.isSlow(ms, position, ms)).toBe(false);
    }
  });
});
