import type { Metafile } from 'esbuild';
import { expect, test } from 'vitest';
import { bundledPackages } from '../../../.ci/build/bundled-packages.ts';

function metafile(bytes: Readonly<Record<string, number>>): Metafile {
  const inputs = Object.fromEntries(Object.entries(bytes).map(([path, bytesInOutput]) => [path, { bytesInOutput }]));
  return { inputs: {}, outputs: { 'main.js': { bytes: 1, inputs, imports: [], exports: [] } } };
}

test('packages are named once, by the innermost folder, and only if something of them is used', () => {
  expect(
    bundledPackages(
      metafile({
        'src/main.ts': 1,
        'node_modules/b/index.js': 1,
        'node_modules/b/lib/x.js': 1,
        'node_modules/@a/b/index.js': 1,
        'node_modules/b/node_modules/@c/d/index.js': 1,
        'node_modules/shaken/index.js': 0,
      }),
    ),
  ).toEqual(['node_modules/@a/b', 'node_modules/b', 'node_modules/b/node_modules/@c/d']);
});
