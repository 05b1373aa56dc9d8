import { expect, test } from 'vitest';
import { Candidates } from '../../../../src/routing/control/candidates.ts';

test.each([
  { chance: 0, waits: [500, 1_000, 2_000], alone: 2_500 },
  { chance: 0.5, waits: [1_000, 2_000, 4_000], alone: 5_000 },
  { chance: 0.75, waits: [1_250, 2_500, 5_000], alone: 6_250 },
])('after each failure it waits twice as long, half to one and a half of it by chance: $chance', (scene) => {
  const candidates = new Candidates({ random: () => scene.chance });
  candidates.setSeeds(['/seed']);
  const fails = (isAlone: boolean) => {
    const seed = candidates.pick(Number.POSITIVE_INFINITY, () => false);
    if (seed === undefined) throw new Error('nobody to dial');
    candidates.failed(seed, 100_000, isAlone);
    return seed.nextAtMs - 100_000;
  };
  expect(scene.waits.map(() => fails(false))).toEqual(scene.waits);
  expect(fails(true)).toBe(scene.alone);
});
