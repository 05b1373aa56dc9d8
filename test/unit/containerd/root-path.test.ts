import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readContainerdConfig } from '../../../src/containerd/config-files.ts';
import { hostsInEffect } from '../../../src/containerd/hosts-in-effect.ts';
import { pathBelow } from '../../../src/containerd/root-path.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
let root: string;
beforeAll(async () => {
  scratch = await Scratch.create();
  root = scratch.join('host');
  await mkdir(`${root}/run/here`, { recursive: true });
  await mkdir(`${root}/var`);
  await mkdir(`${root}/data/conf.d`, { recursive: true });
  await symlink('/run', `${root}/var/run`);
  await symlink('../../../../run', `${root}/var/up`);
  await symlink('/data', `${root}/etc`);
  await symlink('again', `${root}/again`);
  await writeFile(scratch.join('outside'), '');
});
afterAll(() => scratch?.dispose());

test.each([
  ['/run/here', '/run/here'],
  ['/var/run/here/c.sock', '/run/here/c.sock'],
  ['/var/up/here', '/run/here'],
  ['/../../outside', '/outside'],
  ['/etc/missing/file', '/data/missing/file'],
])('%s of a mounted node is %s below its root', async (path, expected) => {
  expect(await pathBelow(root, path)).toBe(`${root}${expected}`);
});

test('links without end are an error; of this machine itself a path is what it is', async () => {
  await expect(pathBelow(root, '/again/file')).rejects.toThrow('too many links: /again/file');
  expect(await pathBelow('/', '/var/run/x')).toBe('/var/run/x');
});

test("the node's configuration is read where its links lead on the node", async () => {
  await writeFile(`${root}/data/conf.d/a.toml`, 'version = 3\n');
  await writeFile(`${root}/data/config.toml`, 'imports = ["/etc/conf.d/*.toml"]\n');
  const files = await readContainerdConfig('/etc/config.toml', root);
  expect(files.map(({ path }) => path)).toEqual(['/etc/config.toml', '/etc/conf.d/a.toml']);
  await mkdir(`${root}/data/certs.d/_default`, { recursive: true });
  await writeFile(`${root}/data/certs.d/_default/hosts.toml`, 'server = "x"\n');
  await symlink('/etc/certs.d/_default', `${root}/data/certs.d/a.example`);
  expect(await hostsInEffect('/etc/certs.d', 'a.example', root)).toEqual({
    folder: 'a.example',
    text: 'server = "x"\n',
    isBroken: false,
  });
});

test('a folder that is a link to itself breaks the pulls from its registry, as containerd has it', async () => {
  const certsDir = scratch.join('certs.d');
  await mkdir(certsDir);
  await symlink('loop.example', `${certsDir}/loop.example`);
  expect(await hostsInEffect(certsDir, 'loop.example')).toMatchObject({ folder: 'loop.example', isBroken: true });
});
