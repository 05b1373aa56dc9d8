/**
 * Makes dist/, which runs anywhere that Node does: the agent as a few files of JavaScript, and beside them what it reads
 * and what cannot be bundled. `npm run build`, or `npm run build -- --to FOLDER --cpu arm64` for a machine of another kind.
 */
import { cp, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { billOfMaterials } from './bill-of-materials.ts';
import { bundledPackages } from './bundled-packages.ts';
import { licenseTexts } from './license-texts.ts';
import { addNativePackages, NATIVE_PACKAGES } from './native-packages.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Files and folders that are put beside main.js, under their own names. */
const ASSETS = ['LICENSE', 'package.json', 'src/status/page'];

/** Packages of which a copy is among the page's files, as it was published. */
const VENDORED = ['node_modules/uplot'];

const { values } = parseArgs({ options: { to: { type: 'string' }, cpu: { type: 'string' } } });
const to = values.to ?? join(ROOT, 'dist');

await rm(to, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: ['src/main.ts'],
  outdir: to,
  // All of them in one folder: what stands beside main.js stands beside each.
  chunkNames: '[name]-[hash]',
  bundle: true,
  // What is imported late (a command, libp2p, the client of Kubernetes) is a file of its own, loaded when it is needed.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: [...NATIVE_PACKAGES],
  // Packages of the older kind call `require` for Node's own modules.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  // Names stay, so that a stack in a log can be read; there are no source maps, which cost memory when an error is made.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
for (const asset of ASSETS) await cp(join(ROOT, asset), join(to, basename(asset)), { recursive: true });

const bundled = [...bundledPackages(metafile), ...VENDORED].sort();
const beside = await addNativePackages(ROOT, to, values.cpu || undefined);
await writeFile(join(to, 'THIRD-PARTY-LICENSES'), await licenseTexts(ROOT, bundled));
await writeFile(join(to, 'sbom.spdx.json'), await billOfMaterials(ROOT, [...bundled, ...beside]));
