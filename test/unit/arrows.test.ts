import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/**
 * The rooms of src/, top to bottom: each may import what stands below its row, and nothing beside or above it.
 * `.biome.json` holds the same rows; `biome check` is what enforces them, and these tests see it bite.
 */
const ROWS = [
  ['main.ts'],
  ['cli'],
  ['agent', 'demo', 'doctor'],
  ['cluster'],
  ['mirror', 'peer', 'status'],
  ['pull'],
  ['store', 'routing', 'discovery', 'upstream', 'containerd'],
  ['kubernetes', 'oci', 'config'],
  ['errors.ts', 'metrics', 'time'],
];
const ROOMS = ROWS.flat();
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SRC = join(ROOT, 'src');

const rowOf = (room: string) => ROWS.findIndex((row) => row.includes(room));
const mayImport = (from: string, to: string) => from === to || rowOf(to) > rowOf(from);
const isFile = (room: string) => room.endsWith('.ts');

/** One import a line, in every form that the compiler knows to follow. */
const FORMS: readonly ((specifier: string, index: number) => string)[] = [
  (specifier, index) => `import { a${index} } from '${specifier}';`,
  (specifier, index) => `import type { b${index} } from '${specifier}';`,
  (specifier, index) => `import { type c${index} } from '${specifier}';`,
  (specifier, index) => `export const d${index} = await import('${specifier}');`,
  (specifier, index) => `export type { e${index} } from '${specifier}';`,
  (specifier) => `export * from '${specifier}';`,
  (specifier) => `import '${specifier}';`,
];

/** Ways around a rule that only looks for `../mirror/`. */
const DETOURS = [
  './../mirror/x.ts',
  '../store/../mirror/x.ts',
  './deep/../../mirror/x.ts',
  '../../src/mirror/x.ts',
  '../mirror/deep/x.ts',
  '../a-room-that-nobody-has-heard-of/x.ts',
  '../store-of-something/x.ts',
  '../../test/support/x.ts',
  'windlass/src/mirror/x.ts',
  '#mirror',
  '/src/mirror/x.ts',
  'file:///src/mirror/x.ts',
];

class Planted {
  readonly path: string;
  readonly lines: string[] = [];
  readonly forbidden: string[] = [];

  constructor(path: string) {
    this.path = path;
  }

  add(line: string, allowed: boolean): void {
    this.lines.push(line);
    if (!allowed) this.forbidden.push(line);
  }
}

/** A file in `room` that imports from each room in every form. @param folders between the room and the file. */
function plant(room: string, folders: readonly string[] = []): Planted {
  const path = isFile(room) ? join('src', room) : join('src', room, ...folders, 'planted.ts');
  const planted = new Planted(path);
  const up = relative(dirname(path), 'src') || '.';
  for (const to of ROOMS) {
    if (to === room) continue;
    for (const form of FORMS) {
      planted.add(form(isFile(to) ? `${up}/${to}` : `${up}/${to}/x.ts`, planted.lines.length), mayImport(room, to));
    }
  }
  for (const fine of ['fastify', '@libp2p/mirror', 'node:fs', ...(isFile(room) ? [] : ['./x.ts', './deep/x.ts'])]) {
    planted.add(`import '${fine}';`, true);
  }
  if (folders.length > 0) planted.add("import '../x.ts';", true);
  return planted;
}

describe('the lint rule on arrows between rooms', () => {
  let folder: string;
  let bitten: Map<string, string[]>;
  const flat = new Map(ROOMS.map((room) => [room, plant(room)]));
  const nested = new Map(ROOMS.filter((room) => !isFile(room)).map((room) => [room, plant(room, ['deep'])]));
  const detours = new Planted(join('src', 'pull', 'detours.ts'));
  for (const specifier of DETOURS) detours.add(`import '${specifier}';`, false);
  const binary = new Planted(join('src', 'windlass.js'));
  binary.add("import './main.ts';", true);
  binary.add("import '../dist/main.js';", true);
  binary.add("import '../test/x.ts';", false);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'windlass-arrows-'));
    await cp(join(ROOT, '.biome.json'), join(folder, '.biome.json'));
    await cp(join(ROOT, '.gitignore'), join(folder, '.gitignore'));
    for (const { path, lines } of [...flat.values(), ...nested.values(), detours, binary]) {
      await mkdir(join(folder, dirname(path)), { recursive: true });
      await writeFile(join(folder, path), `${lines.join('\n')}\n`);
    }
    bitten = await lint(folder);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const expectBitten = (planted: Planted | undefined) => {
    expect(bitten.get(planted?.path ?? '') ?? []).toEqual(planted?.forbidden);
  };
  test.each(ROOMS)('%s imports what is below it, and nothing else', (room) => expectBitten(flat.get(room)));
  test.each([...nested.keys()])('%s/deep imports what is below %s, and nothing else', (room) =>
    expectBitten(nested.get(room)),
  );
  test('detours are no way around it', () => expectBitten(detours));
  test('the bin imports the process, here or compiled', () => expectBitten(binary));
});

describe('src', () => {
  test('has no room that the rows do not name', async () => {
    expect((await readdir(SRC)).filter((name) => name !== 'windlass.js' && !ROOMS.includes(name))).toEqual([]);
  });

  test('names no path in a forbidden room in any string: what the rule cannot see (import types, templates, URLs)', async () => {
    const violations: string[] = [];
    for (const file of await readdir(SRC, { recursive: true })) {
      if (!/\.[jt]s$/.test(file) || file === 'windlass.js') continue;
      violations.push(...forbiddenPaths(join(SRC, file), await readFile(join(SRC, file), 'utf8')));
    }
    expect(violations).toEqual([]);
  });

  test.each([
    "type A = import('../mirror/x.ts').A;",
    'await import(`../mirror/x.ts`);',
    "new Worker(new URL('../mirror/x.ts', import.meta.url));",
    "import a from '../peer/x.ts';",
  ])('is seen to break that by %s', (line) => {
    expect(forbiddenPaths(join(SRC, 'pull', 'planted.ts'), line)).toHaveLength(1);
    expect(forbiddenPaths(join(SRC, 'main.ts'), line.replace('../', './'))).toHaveLength(0);
  });
});

function forbiddenPaths(file: string, text: string): string[] {
  const from = roomOf(file);
  return [...text.matchAll(/(['"`])(\.{1,2}\/[^'"`\n]*)\1/g)]
    .map(([, , specifier = '']) => ({ specifier, to: roomOf(resolve(dirname(file), specifier)) }))
    .filter(({ to }) => ROOMS.includes(to) && !mayImport(from, to))
    .map(({ specifier }) => `${relative(SRC, file)}: ${specifier}`);
}

/** The first part of a path below src/. */
function roomOf(path: string): string {
  return relative(SRC, path).split('/', 1)[0] ?? '';
}

/** The lines that biome complains about, by file. */
async function lint(folder: string): Promise<Map<string, string[]>> {
  const args = ['lint', '--only=style/noRestrictedImports', '--max-diagnostics=none', '--reporter=github', 'src'];
  const output = await new Promise<string>((done) => {
    const options = { cwd: folder, maxBuffer: 2 ** 26 };
    // It exits with 1, for it finds what was planted.
    execFile(join(ROOT, 'node_modules', '.bin', 'biome'), args, options, (_error, stdout, stderr) =>
      done(stdout + stderr),
    );
  });
  const bitten = new Map<string, string[]>();
  const numbers = new Map<string, number[]>();
  for (const [, path = '', line] of output.matchAll(
    /^::error title=lint\/style\/noRestrictedImports,file=([^,]+),line=(\d+)/gm,
  )) {
    const file = relative(folder, resolve(folder, path));
    numbers.set(file, [...(numbers.get(file) ?? []), Number(line)]);
  }
  for (const [file, found] of numbers) {
    const lines = (await readFile(join(folder, file), 'utf8')).split('\n');
    bitten.set(
      file,
      [...new Set(found)].sort((a, b) => a - b).map((line) => lines[line - 1] ?? ''),
    );
  }
  return bitten;
}
