import { chown, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeWith, rootMissing } from '../../support/requires.ts';
import { type Ended, run } from './child.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'windlass-store-'));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

const prepare = (owner: string): Promise<Ended> =>
  run(process.execPath, [MAIN, 'prepare-store', `--owner=${owner}`, '--store.path=a/store'], { cwd });

async function owner(path: string): Promise<string> {
  const { uid, gid } = await lstat(join(cwd, path));
  return `${uid}:${gid}`;
}

describeWith('windlass prepare-store', [rootMissing()], () => {
  test("makes the folder, and gives it and all that is in it to the agent's user, links' ends left alone", {
    timeout: 60_000,
  }, async () => {
    expect(await prepare('65532:65533')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await owner('a/store')).toBe('65532:65533');
    expect(await owner('a')).toBe('0:0');

    await mkdir(join(cwd, 'a/store/blobs/sha256'), { recursive: true });
    await writeFile(join(cwd, 'a/store/blobs/sha256/b'), '');
    await writeFile(join(cwd, 'outside'), '');
    await symlink(join(cwd, 'outside'), join(cwd, 'a/store/link'));
    // As it is: the store's own user is at work in it.
    await prepare('65532:65533');
    expect(await owner('a/store/blobs/sha256/b')).toBe('0:0');
    await prepare('7:8');
    for (const path of ['', '/blobs', '/blobs/sha256', '/blobs/sha256/b', '/link']) {
      expect(await owner(`a/store${path}`), path).toBe('7:8');
    }
    expect(await owner('outside')).toBe('0:0');
  });

  test('one that was killed half way is done again', { timeout: 60_000 }, async () => {
    await mkdir(join(cwd, 'a/store/blobs'), { recursive: true });
    await chown(join(cwd, 'a/store/blobs'), 7, 8);
    await writeFile(join(cwd, 'a/store/rest'), '');
    await prepare('7:8');
    expect([await owner('a/store'), await owner('a/store/rest')]).toEqual(['7:8', '7:8']);
  });

  test('names what is wrong with an owner', { timeout: 60_000 }, async () => {
    expect(await prepare('nobody')).toMatchObject({ code: 2, stderr: expect.stringMatching(/'nobody' .*65532:65532/) });
  });
});
