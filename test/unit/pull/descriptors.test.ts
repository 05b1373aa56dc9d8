import { expect, test } from 'vitest';
import { parseDigest } from '../../../src/oci/digest.ts';
import { Descriptors } from '../../../src/pull/descriptors.ts';

const ORIGIN = { registry: 'docker.io', repository: 'library/x' };
const OTHER = { registry: 'docker.io', repository: 'library/y' };
const digest = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
const [INDEX, MANIFEST, LAYER] = [digest('a'), digest('b'), digest('c')];
const naming = (child: typeof LAYER) => ({
  mediaType: 'x/y',
  children: [{ digest: child, sizeBytes: 7, mediaType: undefined }],
});

test('all that an index leads to has the index’s pull id, in this repository alone', () => {
  const descriptors = new Descriptors();
  descriptors.remember(ORIGIN, INDEX, naming(MANIFEST));
  descriptors.remember(ORIGIN, MANIFEST, naming(LAYER));
  for (const part of [INDEX, MANIFEST, LAYER]) expect(descriptors.pullIdOf(ORIGIN, part)).toBe('a'.repeat(12));
  expect(descriptors.pullIdOf(OTHER, LAYER)).toBe('c'.repeat(12));
});

test('manifests that name each other in a circle have some pull id all the same', () => {
  const descriptors = new Descriptors();
  descriptors.remember(ORIGIN, INDEX, naming(MANIFEST));
  descriptors.remember(ORIGIN, MANIFEST, naming(INDEX));
  expect(descriptors.pullIdOf(ORIGIN, INDEX)).toMatch(/^[ab]{12}$/);
});

test('a size that upstream told itself is forgotten as one that a manifest named', () => {
  const descriptors = new Descriptors();
  descriptors.setSize(ORIGIN, LAYER, 9);
  expect(descriptors.sizeOf(ORIGIN, LAYER)).toBe(9);
  descriptors.forget(ORIGIN, LAYER);
  expect(descriptors.sizeOf(ORIGIN, LAYER)).toBeUndefined();
});

test('a manifest is remembered once, however often it is served', () => {
  const descriptors = new Descriptors();
  let reads = 0;
  const manifest = {
    mediaType: 'x/y',
    get children() {
      reads += 1;
      return naming(LAYER).children;
    },
  };
  for (let i = 0; i < 3; i += 1) descriptors.remember(ORIGIN, MANIFEST, manifest);
  expect(reads).toBe(1);
  expect(descriptors.sizeOf(ORIGIN, LAYER)).toBe(7);
  descriptors.remember(OTHER, MANIFEST, manifest);
  expect(descriptors.sizeOf(OTHER, LAYER)).toBe(7);
});
