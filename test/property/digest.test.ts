import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { algorithmOf, hexOf, isDigest, parseDigest } from '../../src/oci/digest.ts';

const algorithm = fc.constantFrom('sha256' as const, 'sha512' as const);

describe('digests', () => {
  it('of any bytes are taken, and come apart again', () => {
    fc.assert(
      fc.property(algorithm, fc.uint8Array(), (name, bytes) => {
        const hex = createHash(name).update(bytes).digest('hex');
        const digest = parseDigest(`${name}:${hex}`);
        expect([algorithmOf(digest), hexOf(digest)]).toEqual([name, hex]);
      }),
    );
  });

  it('with one character changed to what is no lower-case hex digit are refused', () => {
    fc.assert(
      fc.property(
        algorithm,
        fc.nat(),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((text) => !/^[0-9a-f]$/.test(text)),
        (name, at, wrong) => {
          const hex = 'a'.repeat(name === 'sha256' ? 64 : 128);
          const index = at % hex.length;
          expect(isDigest(`${name}:${hex.slice(0, index)}${wrong}${hex.slice(index + 1)}`)).toBe(false);
        },
      ),
    );
  });

  it('that are taken never hold a separator of paths', () => {
    const nearly = fc.stringMatching(/^(sha256|sha512|..):[0-9a-f./\\]{60,130}$/);
    fc.assert(
      fc.property(nearly, (text) => {
        if (isDigest(text)) expect(hexOf(text)).toMatch(/^[0-9a-f]+$/);
        else expect(() => parseDigest(text)).toThrow(/not a digest/);
      }),
    );
  });
});
