import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { billOfMaterials } from '../../../.ci/build/bill-of-materials.ts';
import packageJson from '../../../package.json' with { type: 'json' };
import { CHECK_NAMES } from '../../../src/doctor/finding.ts';
import { run, tryCommand } from '../../support/commands.ts';
import { Scratch } from '../../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const BUILD = join(ROOT, '.ci/build/build.ts');
const TIMEOUT_MS = 300_000;

let scratch: Scratch;
let dist: string;

beforeAll(async () => {
  scratch = await Scratch.create();
  dist = scratch.join('dist');
  await run(process.execPath, [BUILD, '--to', dist], { timeoutMs: TIMEOUT_MS });
}, TIMEOUT_MS);
afterAll(() => scratch?.dispose());

/** A file of the bundle by the beginning of its name, and all that it imports at once, in turn. */
async function loadedWith(...beginnings: readonly string[]): Promise<string[]> {
  const all = (await readdir(dist)).filter((name) => name.endsWith('.js'));
  const loaded = new Set(all.filter((name) => beginnings.some((beginning) => name.startsWith(beginning))));
  for (const name of loaded) {
    const text = await readFile(join(dist, name), 'utf8');
    for (const [, imported = ''] of text.matchAll(/\b(?:from|import)\s*"\.\/([^"]+)"/g)) loaded.add(imported);
  }
  return [...loaded];
}

/** Whether one of the files has it in its text. */
async function anyContains(names: readonly string[], text: string): Promise<boolean> {
  const texts = await Promise.all(names.map((name) => readFile(join(dist, name), 'utf8')));
  return texts.some((own) => own.includes(text));
}

test('the bundle runs where there is nothing but Node', async () => {
  const said = await run(process.execPath, [join(dist, 'main.js'), '--version'], { cwd: '/' });
  expect(said).toMatchObject({ stdout: `${packageJson.version}\n`, stderr: '' });
});

test('the command of the package, which has no source beside it, runs the bundle', async () => {
  await mkdir(scratch.join('src'));
  await cp(join(ROOT, packageJson.bin.windlass), scratch.join('src/windlass.js'));
  const said = await run(process.execPath, [scratch.join('src/windlass.js'), '--version'], { cwd: '/' });
  expect(said).toMatchObject({ stdout: `${packageJson.version}\n`, stderr: '' });
});

test('an agent alone loads neither libp2p nor the client of Kubernetes; they are there for those that are not', async () => {
  const alone = await loadedWith('main', 'program-', 'agent-');
  const [libp2p, kubernetes] = ['/windlass/kad/', 'loadFromCluster('];
  expect(await anyContains(alone, 'windlass_mirror_requests_total')).toBe(true);
  for (const text of [libp2p, kubernetes]) expect(await anyContains(alone, text), text).toBe(false);
  expect(await anyContains(await loadedWith('cluster-'), libp2p)).toBe(true);
  expect(await anyContains(await loadedWith('cluster-'), kubernetes)).toBe(false);
  expect(await anyContains(await loadedWith('api-access-'), kubernetes)).toBe(true);
});

test(
  'the bundle has what doctor loads late',
  async () => {
    const nowhere = ['certs-dir', 'config-file', 'socket'].map(
      (one) => `--containerd.${one}=${scratch.join('nowhere')}`,
    );
    const args = [
      'doctor',
      '--json',
      '--timeout=60',
      `--root=${scratch.path}`,
      `--store.path=${scratch.path}`,
      ...nowhere,
    ];
    const { stdout, stderr } = await tryCommand(process.execPath, [join(dist, 'main.js'), ...args], {
      cwd: '/',
      timeoutMs: TIMEOUT_MS,
    });
    const checks: { check: string; findings: { code: string }[] }[] = JSON.parse(stdout).checks;
    expect({ stderr, checks: checks.map(({ check }) => check) }).toEqual({ stderr: '', checks: [...CHECK_NAMES] });
    expect(checks.flatMap(({ findings }) => findings.map(({ code }) => code))).toContain('socket-silent');
  },
  TIMEOUT_MS,
);

test(
  'says what it consists of, what is vendored included, and the same each time',
  async () => {
    expect(await readFile(join(dist, 'THIRD-PARTY-LICENSES'), 'utf8')).toMatch(/^== uplot .*MIT\n\nThe MIT License/m);
    const { packages } = JSON.parse(await readFile(join(dist, 'sbom.spdx.json'), 'utf8'));
    expect(packages.map(({ name }: { name: string }) => name)).toContain('uplot');
    const [first, second] = await Promise.all([1, 2].map(() => billOfMaterials(ROOT, ['node_modules/uplot'])));
    expect(first).toBe(second);
  },
  TIMEOUT_MS,
);
