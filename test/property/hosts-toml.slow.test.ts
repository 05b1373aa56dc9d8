import { chmod, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { parse } from 'smol-toml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realFolder, wantedHosts } from '../../src/containerd/certs-dir.ts';
import { realDisk } from '../../src/containerd/disk.ts';
import { Installation } from '../../src/containerd/installation.ts';
import type { Outcome } from '../../src/containerd/outcome.ts';
import { checkHosts } from '../../src/doctor/hosts-check.ts';
import { CrashingDisk, type CrashingDiskOptions, PowerCut } from '../support/crashing-disk.ts';
import { subjectWith } from '../support/doctor.ts';
import { type FileTree, makeTree, readTree, type TreeEntry } from '../support/file-tree.ts';

/** Files by hand, by others, cut off in the middle, no TOML at all. */
const CONTENTS = [
  '',
  '# nothing but this',
  'server = "https://registry-1.docker.io"\n',
  'server = "https://quay.io"\n\n[host."https://mirror.corp"] # ours\n  capabilities = ["pull", "resolve"]\n  ca = "corp.crt"\n',
  'server = "https://a"\r\n\r\n# first\r\n[host."https://a"]\r\n  [host."https://a".header]\r\n    x-a = ["1"]\r\n',
  "server = 'https://b'\n\n[host]\n  [host.'http://10.0.0.1:5000']\n    capabilities = ['pull', 'resolve']\n",
  '[host."http://127.0.0.1:30020"]\ncapabilities = ["pull", "resolve"]\ndial_timeout = "200ms"',
  'unknown = """\n[host."no"]\n# none """\nlist = [\n  "[host", # ]\n]\n[other]\nx = 1\n',
  'host = { "https://inline" = { capabilities = ["pull"] } }\n',
  '[host]\n"https://inline" = { capabilities = ["pull"] }\n',
  '[host]\n"https://dotted".capabilities = ["pull", "resolve"]\n"https://dotted".ca = "a.crt"\n',
  '[host."http://127.0.0.1:5050"]\n  capabilities = ["pull", "resolve"]\n',
  '[host."https://a"]\n[host."http://127.0.0.1:5050"]\n',
  'server = "https://half',
  '[host."https://mirror.corp"]\n  capabilities = ["pull", "res',
  'capabilities = ["fly"]\n',
  '\u00ff\u00fe not UTF-8',
];
const NAMES = [
  'docker.io',
  'quay.io',
  '_default',
  'registry.local:5000',
  'registry.local_5000_',
  'eu.gcr.io',
  'private.corp',
];
const REGISTRIES = [
  [{ host: 'docker.io' }, { host: 'quay.io' }, { host: 'registry.local:5000' }],
  [{ host: 'docker.io', endpoint: 'http://10.0.0.2:5000' }, { host: '*.gcr.io' }],
  [{ host: '*' }],
  [{ host: 'ghcr.io' }],
];
const URLS = ['http://127.0.0.1:5050', 'http://[::1]:6060'];

const mode = fc.constantFrom(0o644, 0o600, 0o640, 0o400, 0o4755, 0);
const self = process.getuid?.() ?? 0;
const owner = self === 0 ? fc.constantFrom(0, 1234) : fc.constant(self);
const folderMode = fc.constantFrom(0o755, 0o700, 0o1777, 0o2750, 0o500);

const hostsFile: fc.Arbitrary<TreeEntry | undefined> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('file' as const), mode, owner, content: fc.constantFrom(...CONTENTS) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('link' as const),
      target: fc.constantFrom('../../shared/hosts.toml', '../docker.io/hosts.toml', 'nowhere', 'hosts.toml', '..'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('folder' as const), mode: folderMode }) },
);

const hostFolder: fc.Arbitrary<(path: string) => FileTree> = fc.oneof(
  {
    weight: 7,
    arbitrary: fc.record({ mode: folderMode, hosts: hostsFile, certs: fc.boolean() }).map(
      ({ mode: own, hosts, certs }) =>
        (path: string): FileTree => ({
          [path]: { kind: 'folder', mode: own },
          ...(hosts === undefined ? {} : { [`${path}/hosts.toml`]: hosts }),
          ...(certs ? { [`${path}/ca.crt`]: { kind: 'file', mode: 0o644, content: 'PEM' } as const } : {}),
        }),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('docker.io', '../shared', 'missing', '.', 'private.corp').map(
      (target) =>
        (path: string): FileTree => ({ [path]: { kind: 'link', target } }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant((path: string): FileTree => ({ [path]: { kind: 'file', mode: 0o644, content: 'stray' } })),
  },
);

/** `etc/certs.d` in all forms, none included, and what links lead to beside it. */
const trees: fc.Arbitrary<FileTree> = fc
  .record({
    root: fc.constantFrom('none', 'parent', 'folder', 'link'),
    folders: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), hostFolder), { selector: ([name]) => name }),
  })
  .map(({ root, folders }) => {
    const shared: FileTree = {
      'etc/shared': { kind: 'folder', mode: 0o755 },
      'etc/shared/hosts.toml': { kind: 'file', mode: 0o604, content: 'server = "https://shared"\n' },
    };
    if (root === 'none') return {};
    if (root === 'parent') return { etc: { kind: 'folder', mode: 0o711 } };
    const place = root === 'link' ? 'etc/elsewhere' : 'etc/certs.d';
    return {
      ...shared,
      ...(root === 'link' ? { 'etc/certs.d': { kind: 'link', target: 'elsewhere' } as const } : {}),
      [place]: { kind: 'folder', mode: 0o750 },
      ...Object.assign({}, ...folders.map(([name, make]) => make(`${place}/${name}`))),
    };
  });

interface Step {
  readonly what: 'install' | 'clean up';
  readonly registries: number;
  readonly url: number;
  /** The power fails after so many changes of the disk. */
  readonly calls: number | undefined;
}

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom('install', 'install', 'install', 'clean up'),
  registries: fc.nat(REGISTRIES.length - 1),
  url: fc.nat(URLS.length - 1),
  calls: fc.option(fc.nat(45), { nil: undefined, freq: 3 }),
});

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'windlass-certs-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function withTree(tree: FileTree, body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(scratch, 't-'));
  try {
    await makeTree(folder, tree);
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function install(folder: string, { registries, url }: Step, options: CrashingDiskOptions): Promise<Outcome[]> {
  const root = await realFolder(join(folder, 'etc/certs.d'));
  const installation = await Installation.open(root, new CrashingDisk(realDisk, options));
  const wanted = await wantedHosts(root, URLS[url] ?? '', REGISTRIES[registries] ?? [], installation);
  return [...(await installation.apply(wanted.files)), ...wanted.foregone];
}

async function cleanUp(folder: string, options: CrashingDiskOptions = {}, forget = false): Promise<Outcome[]> {
  const root = await realFolder(join(folder, 'etc/certs.d'));
  return (await Installation.open(root, new CrashingDisk(realDisk, options))).undo({ forget });
}

/** @returns whether it came to its end */
async function run(folder: string, one: Step, hardLinks: boolean): Promise<boolean> {
  const options = { calls: one.calls, hardLinks };
  try {
    await (one.what === 'install' ? install(folder, one, options) : cleanUp(folder, options));
    return true;
  } catch (error) {
    if (error instanceof PowerCut) return false;
    throw error;
  }
}

function without(tree: FileTree, isOut: (path: string) => boolean): FileTree {
  return Object.fromEntries(Object.entries(tree).filter(([path]) => !isOut(path)));
}

describe('whatever was in certs.d', () => {
  test('it is there again after installs and clean-ups, each cut off anywhere, and a clean-up', async () => {
    await fc.assert(
      fc.asyncProperty(trees, fc.array(step, { minLength: 1, maxLength: 5 }), fc.boolean(), (tree, steps, hardLinks) =>
        withTree(tree, async (folder) => {
          const before = await readTree(folder);
          for (const one of steps) await run(folder, one, hardLinks);
          const outcomes = await cleanUp(folder);
          expect(outcomes.filter(({ kind }) => kind === 'left')).toEqual([]);
          expect(await readTree(folder)).toEqual(before);
        }),
      ),
      { numRuns: 150 },
    );
  }, 120_000);

  test('every file that containerd reads stays whole, at every moment, and says what it said', async () => {
    await fc.assert(
      fc.asyncProperty(trees, step, (tree, one) =>
        withTree(tree, async (folder) => {
          const before = await readTree(folder);
          await run(folder, { ...one, what: 'install' }, true);
          for (const [path, entry] of Object.entries(await readTree(folder))) {
            const was = before[path];
            if (entry.kind !== 'file' || !path.endsWith('/hosts.toml')) continue;
            if (was?.kind === 'file' && was.content === entry.content) continue;
            const hosts = Object.keys(Object(parse(Buffer.from(entry.content, 'latin1').toString()).host));
            expect(hosts[0], path).toBe(URLS[one.url]);
            if (was?.kind !== 'file') continue;
            expect([entry.mode, entry.owner], path).toEqual([was.mode, was.owner]);
            const lines = /# windlass: begin[\s\S]*# windlass: end\r?\n/;
            const kept = entry.content.replace(lines, '').replace(/\r?\n/g, '');
            if (was.content !== '') expect(kept, path).toBe(was.content.replace(/\r?\n/g, ''));
          }
        }),
      ),
      { numRuns: 80 },
    );
  }, 120_000);

  test('an install with the same settings changes nothing the second time', async () => {
    await fc.assert(
      fc.asyncProperty(trees, step, (tree, one) =>
        withTree(tree, async (folder) => {
          await install(folder, one, {});
          const first = await readTree(folder);
          const outcomes = await install(folder, one, { calls: 0 });
          expect(await readTree(folder)).toEqual(first);
          expect(outcomes.filter(({ kind }) => kind === 'written')).toEqual([]);
        }),
      ),
      { numRuns: 60 },
    );
  }, 120_000);

  test('doctor finds the mirror first for every registry after an install that left nothing alone', async () => {
    await fc.assert(
      fc.asyncProperty(trees, step, (tree, one) =>
        withTree(tree, async (folder) => {
          const outcomes = await install(folder, one, {});
          const isDone = outcomes.every(({ kind }) => kind !== 'left');
          const { host } = new URL(URLS[one.url] ?? '');
          const subject = await subjectWith([
            `--containerd.certs-dir=${folder}/etc/certs.d`,
            `--store.path=${folder}/store`,
            `--mirror.listen=${host}`,
            `--registries=${JSON.stringify(REGISTRIES[one.registries])}`,
          ]);
          const { findings, mirrored } = await checkHosts(subject);
          if (isDone) expect(findings).toEqual([]);
          expect(mirrored.length > 0 || findings.length > 0).toBe(true);
        }),
      ),
      { numRuns: 100 },
    );
  }, 120_000);

  test('what somebody else changed after the install is never touched and said, or, with nothing of ours in it, the new prior', async () => {
    const changes = fc.constantFrom('append', 'remove', 'mode', 'link');
    await fc.assert(
      fc.asyncProperty(trees, step, step, changes, fc.nat(), (tree, one, second, change, which) =>
        withTree(tree, async (folder) => {
          const before = await readTree(folder);
          const written = (await install(folder, one, {})).filter(({ kind }) => kind === 'written');
          const changed = written[which % Math.max(1, written.length)]?.path;
          if (changed === undefined) return;
          if (change === 'append') await writeFile(changed, '\n# mine\n', { flag: 'a' });
          else if (change === 'mode') await chmod(changed, 0o606);
          else await unlink(changed);
          if (change === 'link') await symlink('elsewhere', changed);
          const path = changed.slice(folder.length + 1);
          const theirs = (await readTree(folder))[path];
          const same = JSON.stringify(theirs) === JSON.stringify(before[path]);

          const again = (await install(folder, second, {})).find((outcome) => outcome.path === changed);
          const isLeft = again?.why?.includes('since windlass configure wrote it') ?? false;
          if (isLeft) expect((await readTree(folder))[path]).toEqual(theirs);
          if (!same && (change === 'append' || change === 'mode')) expect(isLeft).toBe(true);
          const outcomes = await cleanUp(folder);

          const after = await readTree(folder);
          const others = (all: FileTree) => without(all, (at) => at === path || at.includes('.windlass'));
          const made = Object.fromEntries(
            Object.entries(after).filter(([at]) => before[at] === undefined && changed.startsWith(`${folder}/${at}/`)),
          );
          expect(others(after)).toEqual(others({ ...before, ...made }));
          expect(after[path]).toEqual(same ? before[path] : theirs);
          const isSaid = outcomes.some((outcome) => outcome.path === changed && outcome.kind === 'left');
          expect(isSaid).toBe(isLeft);

          await cleanUp(folder, {}, true);
          expect(Object.keys(await readTree(folder)).filter((at) => at.includes('.windlass'))).toEqual([]);
          expect((await readTree(folder))[path]).toEqual(same ? before[path] : theirs);
        }),
      ),
      { numRuns: 80 },
    );
  }, 120_000);
});

describe('the power fails', () => {
  const tree: FileTree = {
    'etc/certs.d/docker.io': { kind: 'folder', mode: 0o750 },
    'etc/certs.d/docker.io/hosts.toml': { kind: 'file', mode: 0o640, content: CONTENTS[3] ?? '' },
    'etc/certs.d/quay.io/hosts.toml': { kind: 'link', target: '../docker.io/hosts.toml' },
  };
  const whole: Step = { what: 'install', registries: 0, url: 0, calls: undefined };

  for (const [name, prior] of [
    ['with files of others', tree],
    ['with no folder at all', {}],
  ] as const) {
    for (const hardLinks of [true, false]) {
      test(`at each write of an install and of its clean-up, ${name}${hardLinks ? '' : ', without hard links'}`, async () => {
        for (let calls = 0, isDone = false; !isDone; calls++) {
          await withTree(prior, async (folder) => {
            const before = await readTree(folder);
            const isInstalled = await run(folder, { ...whole, calls }, hardLinks);
            await run(folder, { ...whole, registries: 1, url: 1 }, hardLinks);
            const isClean = await run(folder, { ...whole, what: 'clean up', calls }, hardLinks);
            await run(folder, whole, hardLinks);
            await cleanUp(folder);
            expect(await readTree(folder), `after ${calls} calls`).toEqual(before);
            isDone = isInstalled && isClean;
          });
        }
      }, 60_000);
    }
  }
});
