import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseContentRange, parseRange, resolveRange } from '../../src/oci/range.ts';

const blob = fc.uint8Array({ minLength: 1, maxLength: 300 });
const position = fc.oneof(fc.nat(400), fc.constant(Number.MAX_SAFE_INTEGER));

/** What a client gets: the bytes of the answer, or 416. */
function answer(bytes: Uint8Array, header: string): Uint8Array | 416 {
  const range = resolveRange(parseRange(header), bytes.length);
  if (range === 'unsatisfiable') return 416;
  return range === undefined ? bytes : bytes.subarray(range.start, range.end + 1);
}

describe('ranges against slices of a buffer', () => {
  it('bytes=a-b is the slice from a to b, else 416', () => {
    fc.assert(
      fc.property(blob, position, position, (bytes, a, b) => {
        const slice = bytes.slice(a, b + 1);
        expect(answer(bytes, `bytes=${a}-${b}`)).toEqual(a > b || slice.length === 0 ? 416 : slice);
      }),
    );
  });

  it('bytes=a- is the slice from a', () => {
    fc.assert(
      fc.property(blob, position, (bytes, a) => {
        expect(answer(bytes, `bytes=${a}-`)).toEqual(a >= bytes.length ? 416 : bytes.slice(a));
      }),
    );
  });

  it('bytes=-n is the last n bytes', () => {
    fc.assert(
      fc.property(blob, position, (bytes, n) => {
        expect(answer(bytes, `bytes=-${n}`)).toEqual(n === 0 ? 416 : bytes.slice(-n));
      }),
    );
  });

  it('neighbouring ranges put together are the whole', () => {
    fc.assert(
      fc.property(blob, fc.array(fc.nat(300), { maxLength: 5 }), (bytes, cuts) => {
        const edges = [...new Set([0, ...cuts.map((cut) => cut % bytes.length)])].sort((a, b) => a - b);
        const parts = edges.map((start, i) => {
          const next = edges[i + 1];
          return answer(bytes, `bytes=${start}-${next === undefined ? '' : next - 1}`);
        });
        expect(parts).not.toContain(416);
        expect(Buffer.concat(parts.filter((part) => part !== 416))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('a resolved range lies within the blob, whatever the header', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(1000), (text, sizeBytes) => {
        for (const header of [text, `bytes=${text}`]) {
          const range = resolveRange(parseRange(header), sizeBytes);
          if (range === undefined || range === 'unsatisfiable') continue;
          expect(range.start).toBeGreaterThanOrEqual(0);
          expect(range.end).toBeGreaterThanOrEqual(range.start);
          expect(range.end).toBeLessThan(sizeBytes);
        }
      }),
    );
  });

  it('a Content-Range is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (start, more, rest) => {
        const end = start + more;
        const sizeBytes = end + 1 + rest;
        expect(parseContentRange(`bytes ${start}-${end}/${sizeBytes}`)).toEqual({ start, end, sizeBytes });
        expect(parseContentRange(`bytes ${end + 1}-${start}/${sizeBytes}`)).toBeUndefined();
        expect(parseContentRange(`bytes ${start}-${end}/${end}`)).toBeUndefined();
      }),
    );
  });
});
