import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { addNativePackages } from '../../.ci/build/native-packages.ts';
import { Scratch } from '../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** It asks npm's registry. */
test('a build for a machine that a compiled package has no part for fails, and says so', async () => {
  await using scratch = await Scratch.create();
  await expect(addNativePackages(ROOT, scratch.join('other'), 'pdp11')).rejects.toThrow(
    '@napi-rs/blake-hash has no part for pdp11',
  );
});
