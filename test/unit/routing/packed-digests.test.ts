import { describe, expect, it } from 'vitest';
import { packDigests, unpackDigests } from '../../../src/routing/packed-digests.ts';
import { digestOf } from '../../support/image.ts';

describe('packed digests', () => {
  it('come back as they were', () => {
    const digests = [digestOf(Buffer.from('a')), digestOf(Buffer.from('b')), `sha512:${'0a'.repeat(64)}`];
    expect(unpackDigests(packDigests(digests))).toEqual(digests);
    expect(unpackDigests(packDigests([]))).toEqual([]);
  });

  it('are refused where they are none', () => {
    expect(unpackDigests({ sha256: Buffer.alloc(33).toString('base64'), others: [] })).toBeUndefined();
    expect(unpackDigests({ sha256: '', others: ['sha512:short'] })).toBeUndefined();
    expect(unpackDigests({ sha256: '', others: ['../../etc/passwd'] })).toBeUndefined();
  });
});
