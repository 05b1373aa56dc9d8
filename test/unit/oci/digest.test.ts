import { describe, expect, it } from 'vitest';
import { hasCode } from '../../../src/errors.ts';
import { algorithmOf, hexOf, isDigest, parseDigest } from '../../../src/oci/digest.ts';

const SHA256 = `sha256:${'0f'.repeat(32)}`;
const SHA512 = `sha512:${'a1'.repeat(64)}`;

describe('digest', () => {
  it.each([SHA256, SHA512])('takes %s', (text) => {
    expect(parseDigest(text)).toBe(text);
  });

  it.each([
    ['nothing', ''],
    ['upper-case hex', `sha256:${'0F'.repeat(32)}`],
    ['an upper-case algorithm', `SHA256:${'0f'.repeat(32)}`],
    ['an unknown algorithm', `md5:${'0f'.repeat(16)}`],
    ['too few digits', SHA256.slice(0, -1)],
    ['too many digits', `${SHA256}0`],
    ['sha512 with the length of sha256', `sha512:${'0f'.repeat(32)}`],
    ['a line feed at the end', `${SHA256}\n`],
    ['a line feed in front', `\n${SHA256}`],
    ['no separator', SHA256.replace(':', '')],
    ['a path in place of hex', `sha256:../../${'0'.repeat(58)}`],
    ['a NUL', `sha256:${'0'.repeat(63)}\0`],
    ['digits of another script', `sha256:${'٠'.repeat(64)}`],
  ])('refuses %s', (_, text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(expect.toSatisfy((error) => hasCode(error, 'INVALID_DIGEST')));
  });

  it('names the value that it refuses, cut and escaped', () => {
    expect(() => parseDigest('sha256:xyz\n')).toThrow(/not a digest: "sha256:xyz\\n"/);
    const error = (() => {
      try {
        return parseDigest('x'.repeat(65_536));
      } catch (caught) {
        return caught;
      }
    })();
    expect(String(error).length).toBeLessThan(400);
  });

  it('tells algorithm and hex', () => {
    expect(algorithmOf(parseDigest(SHA256))).toBe('sha256');
    expect(algorithmOf(parseDigest(SHA512))).toBe('sha512');
    expect(hexOf(parseDigest(SHA512))).toBe('a1'.repeat(64));
  });
});
