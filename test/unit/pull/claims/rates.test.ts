import { expect, test } from 'vitest';
import { Rates } from '../../../../src/pull/claims/rates.ts';

const MB = 1_000_000;

test.each<[string, number | undefined, number | undefined, number | undefined, boolean]>([
  ['none is known', undefined, undefined, undefined, false],
  ['only the own one is', 10 * MB, undefined, 10 * MB, true],
  ['only that of a slow claimer is', undefined, 2 * MB, 2 * MB, true],
  ['the own one is the better', 25 * MB, 2 * MB, 25 * MB, false],
  ['a claimer has the better', 2 * MB, 25 * MB, 25 * MB, false],
])('whether 6.3 MB a second fill an uplink goes by the best that is known: %s', (_, own, claimers, best, fills) => {
  const rates = new Rates(() => own);
  rates.noteUplink(claimers);
  expect(rates.uplink).toBe(best);
  expect(rates.fillsAnUplink(6.3 * MB)).toBe(fills);
});
