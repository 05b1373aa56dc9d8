import fc from 'fast-check';
import { expect, test } from 'vitest';
import { field, stringOf } from '../../../src/containerd/proto-strings.ts';

test('what is written is read again, whatever stands beside it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 15 }), fc.string({ unit: 'grapheme', maxLength: 300 }))),
      fc.integer({ min: 1, max: 15 }),
      (fields, wanted) => {
        const message = Buffer.concat(fields.map(([number, text]) => field(number, text)));
        const last = fields.findLast(([number]) => number === wanted)?.[1] ?? '';
        expect(stringOf(message, wanted)).toBe(last);
      },
    ),
  );
});

test('numbers are passed over', () => {
  // 1: varint 300; 2: 64 bits; 3: 32 bits.
  const others = Buffer.from('08ac0211010203040506070819'.replace(/19$/, '1d01020304'), 'hex');
  expect(stringOf(Buffer.concat([others, field(4, 'v2.3.4')]), 4)).toBe('v2.3.4');
});

test('bytes that are no message end in an error, and never in a string of something else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
      try {
        expect(typeof stringOf(bytes, 1)).toBe('string');
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
  );
  expect(() => stringOf(field(1, 'cut off').subarray(0, 5), 1)).toThrow(RangeError);
});
