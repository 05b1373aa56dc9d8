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
  rates.noteCarries(claimers);
  expect(rates.carries).toBe(best);
  expect(rates.fillsAnUplink(6.3 * MB)).toBe(fills);
});

test('what an uplink carries at least raises what is known of others, and is not taken for what any carries', () => {
  const rates = new Rates(
    () => undefined,
    () => 6 * MB,
  );
  expect(rates.carries).toBeUndefined();
  rates.noteCarries(2 * MB);
  expect(rates.carries).toBe(6 * MB);
  rates.noteCarries(9 * MB);
  expect(rates.carries).toBe(9 * MB);
});
