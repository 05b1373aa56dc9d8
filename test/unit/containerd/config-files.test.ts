import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readContainerdConfig } from '../../../src/containerd/config-files.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-config-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("containerd's configuration is read with what it imports, a file once", async () => {
  await mkdir(join(folder, 'conf.d'));
  const main = join(folder, 'config.toml');
  await writeFile(main, `imports = ["conf.d/*.toml", "${folder}/missing.toml"]\n`);
  await writeFile(join(folder, 'conf.d', 'b.toml'), 'version = 3\n');
  await writeFile(join(folder, 'conf.d', 'a.toml'), `imports = ["${main}"]\n`);
  await writeFile(join(folder, 'conf.d', 'c.toml'), 'half = "');
  const files = await readContainerdConfig(main);
  expect(files.map(({ path }) => path.slice(folder.length))).toEqual([
    '/config.toml',
    '/conf.d/a.toml',
    '/conf.d/b.toml',
    '/conf.d/c.toml',
  ]);
  expect(await readContainerdConfig(join(folder, 'none.toml'))).toEqual([]);
});
