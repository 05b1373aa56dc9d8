import { expect, test } from 'vitest';
import { backOffMs } from '../../../src/kubernetes/back-off.ts';

test.each([
  { chance: 0, waits: [125, 250, 500, 1_000, 1_500] },
  { chance: 0.5, waits: [250, 500, 1_000, 2_000, 3_000] },
  { chance: 0.75, waits: [312.5, 625, 1_250, 2_500, 3_750] },
])('twice as long after each failure, half to one and a half of it by chance: $chance', ({ chance, waits }) => {
  expect(waits.map((_, failures) => backOffMs(failures, 3_000, chance))).toEqual(waits);
});
