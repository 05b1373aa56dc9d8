import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDuration, parseShare, parseSize, suggestDuration, suggestSize } from '../../../src/config/units.ts';

test.each([
  ['20GiB', 21_474_836_480],
  ['1.5KiB', 1536],
  ['1.0001KiB', 1024],
  ['3TiB', 3_298_534_883_328],
  ['5MB', 5_000_000],
  ['7B', 7],
  ['0', 0],
  ['0B', 0],
])('%s is %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each([
  ['250ms', 250],
  ['30s', 30_000],
  ['1.5m', 90_000],
  ['24h', 86_400_000],
  ['2d', 172_800_000],
  ['0', 0],
])('%s is %d milliseconds', (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  ['5%', 0.05],
  ['12.5%', 0.125],
  ['0%', 0],
  ['100%', 1],
])('%s is the share %d', (text, share) => expect(parseShare(text)).toBe(share));

test.each([
  '',
  '20',
  '20Gi',
  '20gib',
  '20 GiB',
  ' 20GiB',
  '-1B',
  '1e3B',
  '+1B',
  '9007199254740993B',
  '99999999TiB',
  'GiB',
  '1GiB\n',
  '1constructor',
])('%j is no size', (text) => expect(parseSize(text)).toBeUndefined());
test.each(['', '30', '30S', '30 s', '1m30s', '-1s', '1w', '.5s', '1toString'])('%j is no time', (text) =>
  expect(parseDuration(text)).toBeUndefined(),
);
test.each(['', '5', '0.05', '5 %', '-5%', '%', '5%%'])('%j is no share', (text) =>
  expect(parseShare(text)).toBeUndefined(),
);

describe('what was probably meant', () => {
  test.each([
    ['20Gi', '20GiB'],
    ['20g', '20GiB'],
    ['20 gib', '20GiB'],
    ['100mb', '100MB'],
    ['5XB', undefined],
    ['much', undefined],
  ])('by the size %j is %s', (text, meant) => expect(suggestSize(text)).toBe(meant));
  test.each([
    ['30sec', '30s'],
    ['5 minutes', '5m'],
    ['100 msec', '100ms'],
    ['1 hour', '1h'],
    ['soon', undefined],
  ])('by the time %j is %s', (text, meant) => expect(suggestDuration(text)).toBe(meant));
});

test('whatever is suggested can be parsed', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^ ?\d{1,3}(\.\d)? ?[a-zA-Z]{1,7}$/), (text) => {
      const [size, time] = [suggestSize(text), suggestDuration(text)];
      if (size !== undefined) expect(parseSize(size)).toBeTypeOf('number');
      if (time !== undefined) expect(parseDuration(time)).toBeTypeOf('number');
    }),
  );
});
