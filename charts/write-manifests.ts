/** Renders manifests/ anew: `npm run manifests`. Takes a helm in the PATH, or the one that the tests have built. */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { run, which } from '../test/support/commands.ts';
import { builtHelm } from '../test/support/helm-binary.ts';
import { manifestsOf, TEMPLATE_ARGS } from './manifests.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = builtHelm();
const helm = typeof built === 'string' ? which('helm') : built.path;
if (helm === undefined) throw new Error(`helm is not in the PATH, and ${built}`);

const { stdout } = await run(helm, ['template', ...TEMPLATE_ARGS], { cwd: root });
await mkdir(`${root}/manifests`, { recursive: true });
for (const [name, text] of manifestsOf(stdout)) await writeFile(`${root}/manifests/${name}`, text);
