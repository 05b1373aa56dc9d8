import { describe, expect, it } from 'vitest';
import { parseContentRange, parseRange, resolveRange } from '../../../src/oci/range.ts';

const resolve = (header: string, sizeBytes: number) => resolveRange(parseRange(header), sizeBytes);

describe('a Range header', () => {
  // The distribution spec's own cases, against a blob of 2048 bytes.
  it.each([
    ['bytes=500-1499', { start: 500, end: 1499 }],
    ['bytes=500-', { start: 500, end: 2047 }],
    ['bytes=-500', { start: 1548, end: 2047 }],
    ['bytes=2000-5000', { start: 2000, end: 2047 }],
    ['bytes=500-0', 'unsatisfiable'],
    ['bytes=5000-10000', 'unsatisfiable'],
    ['bytes=0-0', { start: 0, end: 0 }],
    ['bytes=2047-', { start: 2047, end: 2047 }],
    ['bytes=2048-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=-99999', { start: 0, end: 2047 }],
    ['BYTES=0-', { start: 0, end: 2047 }],
  ])('%s of 2048 bytes', (header, expected) => {
    expect(resolve(header, 2048)).toEqual(expected);
  });

  it.each([
    'bytes=-',
    'bytes=',
    'bytes',
    '',
    'bytes=a-b',
    'bytes=0-1,4-5',
    'bytes=0--1',
    'bytes=1.5-2',
    'bytes=0x1-2',
    'chars=0-1',
    'bytes=0-1;x',
    'bytes=1e3-',
    'bytes=١-٢',
  ])('is ignored where it is no single range: %s', (header) => {
    expect(resolve(header, 2048)).toBeUndefined();
  });

  it('may be absent', () => {
    expect(resolveRange(parseRange(undefined), 10)).toBeUndefined();
  });

  it('past every number is past the end, not the whole', () => {
    expect(resolve('bytes=99999999999999999999-', 2048)).toBe('unsatisfiable');
    expect(resolve('bytes=5-99999999999999999999', 2048)).toEqual({ start: 5, end: 2047 });
    expect(resolve('bytes=-99999999999999999999', 2048)).toEqual({ start: 0, end: 2047 });
  });

  it('of an empty blob gives the whole of it', () => {
    expect(resolve('bytes=0-', 0)).toBeUndefined();
    expect(resolve('bytes=-5', 0)).toBeUndefined();
  });

  it('of 16 KiB is ignored', () => {
    expect(parseRange(`bytes=${'0'.repeat(16_384)}1-`)).toEqual({ kind: 'whole' });
  });

  it.each([
    ['spaces in front', `bytes=${' '.repeat(16_000)}`],
    ['spaces behind', `bytes=-${' '.repeat(16_000)}x`],
    ['digits', `bytes=${'1'.repeat(16_000)}`],
  ])('costs next to nothing however long it is: %s', (_, header) => {
    // CPU time of this process, not wall-clock: 200 of them took 50 s when the pattern was quadratic.
    const before = process.cpuUsage();
    for (let i = 0; i < 200; i++) parseRange(header);
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
  });
});

describe('a Content-Range header', () => {
  it.each([
    ['bytes 0-9/100', { start: 0, end: 9, sizeBytes: 100 }],
    ['bytes 0-9/*', { start: 0, end: 9, sizeBytes: undefined }],
    ['bytes 99-99/100', { start: 99, end: 99, sizeBytes: 100 }],
  ])('%s', (header, expected) => {
    expect(parseContentRange(header)).toEqual(expected);
  });

  it.each([
    undefined,
    '',
    'bytes */100',
    'bytes 0-9',
    'bytes=0-9/100',
    'bytes 9-0/100',
    'bytes 0-100/100',
    'bytes 0-9/5',
    'bytes -9/100',
    'bytes 0-9/100 ',
    'items 0-9/100',
    'bytes 0-99999999999999999999/*',
  ])('that does not parse or contradicts itself is none: %s', (header) => {
    expect(parseContentRange(header)).toBeUndefined();
  });
});
