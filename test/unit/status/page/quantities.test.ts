import { expect, test } from 'vitest';
import * as cli from '../../../../src/cli/quantities.ts';
import * as page from '../../../../src/status/page/quantities.js';

const NUMBERS = [
  0,
  0.4,
  1,
  999,
  1023,
  1024,
  59_999,
  60_000,
  3_599_999,
  3_600_000,
  86_400_000,
  2 ** 31,
  2 ** 45,
  2 ** 52,
];

test('sizes, rates and times are those of `windlass status`', () => {
  for (const number of NUMBERS) {
    expect(page.showSize(number)).toBe(cli.showSize(number));
    expect(page.showRate(number)).toBe(cli.showRate(number));
    expect(page.showTime(number)).toBe(cli.showTime(number));
  }
  for (const share of [0, 1e-9, 0.0005, 0.5, 0.98765, 0.9995, 0.99999999, 1]) {
    expect(page.showShare(share)).toBe(cli.showShare(share));
  }
});

test.each([
  [0, 'just now'],
  [1_999, 'just now'],
  [12_000, '12 s ago'],
  [185_000, '3 min ago'],
  [2 * 3_600_000, '2 h ago'],
  [50 * 3_600_000, '2 d ago'],
])('%d ms before is %s', (ms, text) => expect(page.showAgo(ms)).toBe(text));

test.each([
  [0, '0 ms'],
  [0.4, '< 1 ms'],
  [12.3, '12 ms'],
  [999.4, '999 ms'],
  [999.6, '1.0 s'],
  [3_440, '3.4 s'],
  [59_940, '59.9 s'],
  [59_960, '59 s'],
  [125_000, '2 min 5 s'],
])('a span of %d ms is %s', (ms, text) => expect(page.showSpan(ms)).toBe(text));

test('counts have their plural', () => {
  expect([0, 1, 2_345].map((number) => page.count(number, 'blob'))).toEqual(['0 blobs', '1 blob', '2,345 blobs']);
});
