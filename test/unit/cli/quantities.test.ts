import { expect, test } from 'vitest';
import { showShare, showSize, showTime } from '../../../src/cli/quantities.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [1.5 * 1024 ** 3, '1.5 GiB'],
  [5000 * 1024 ** 4, '5000.0 TiB'],
])('%d bytes are %s', (sizeBytes, text) => expect(showSize(sizeBytes)).toBe(text));

test.each([
  [0, '0 s'],
  [59_999, '59 s'],
  [192_000, '3 min 12 s'],
  [18_180_000, '5 h 3 min'],
  [1_051_200_000, '12 d 4 h'],
])('%d ms are %s', (ms, text) => expect(showTime(ms)).toBe(text));

test.each([
  [0, '0.0%'],
  [0.000_01, '0.1%'],
  [0.5, '50.0%'],
  [0.999_999, '99.9%'],
  [1, '100.0%'],
])('a share of %d is %s', (share, text) => expect(showShare(share)).toBe(text));
