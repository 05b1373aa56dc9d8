import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Disk, realDisk } from '../../../src/containerd/disk.ts';
import { Installation, type WantedContent } from '../../../src/containerd/installation.ts';
import { type FileTree, readTree } from '../../support/file-tree.ts';

let folder: string;
let root: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-installation-'));
  root = join(folder, 'certs.d');
  path = join(root, 'docker.io', 'hosts.toml');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function apply(text: string | WantedContent, disk: Disk = realDisk) {
  const content = (): WantedContent => (typeof text === 'string' ? { kind: 'bytes', bytes: Buffer.from(text) } : text);
  return (await Installation.open(root, disk)).apply([{ path, content, holdsOurs }]);
}

function holdsOurs(bytes: Uint8Array): boolean {
  return Buffer.from(bytes).includes('ours');
}

async function undo(options: { forget?: boolean } = {}, disk: Disk = realDisk) {
  return (await Installation.open(root, disk)).undo(options);
}

async function cutOff(): Promise<never> {
  throw new Error('cut off');
}

function without(tree: FileTree): FileTree {
  return Object.fromEntries(Object.entries(tree).filter(([name]) => !name.startsWith('.windlass')));
}

async function put(content: string) {
  await mkdir(join(root, 'docker.io'), { recursive: true });
  await writeFile(path, content);
}

describe('an installation', () => {
  test('gives a file back as the very one that it was: its times, its other names', async () => {
    await put('theirs');
    await link(path, join(folder, 'other name'));
    const before = await stat(path);
    expect(await apply('ours')).toEqual([{ path, kind: 'written' }]);
    expect(await readFile(join(folder, 'other name'), 'utf8')).toBe('theirs');
    expect(await undo()).toEqual([{ path, kind: 'restored' }]);
    const after = await stat(path);
    expect([after.ino, after.mtimeMs, after.nlink]).toEqual([before.ino, before.mtimeMs, 2]);
  });

  test('keeps what it keeps out of the reach of others', async () => {
    await put('theirs');
    await apply('ours');
    expect((await stat(join(root, '.windlass'))).mode & 0o777).toBe(0o700);
  });

  test('never writes to what a link leads to', async () => {
    await mkdir(join(root, 'docker.io'), { recursive: true });
    await writeFile(join(folder, 'shared'), 'shared');
    await symlink('../../shared', path);
    await apply('ours');
    expect([await readFile(path, 'utf8'), await readFile(join(folder, 'shared'), 'utf8')]).toEqual(['ours', 'shared']);
    expect(await undo()).toEqual([{ path, kind: 'restored' }]);
    expect(await readTree(root)).toMatchObject({ 'docker.io/hosts.toml': { kind: 'link', target: '../../shared' } });
  });

  test('of other wishes begins again from what was there first', async () => {
    await put('theirs');
    await apply('ours');
    await apply('ours, newer');
    expect(await apply('ours, newer')).toEqual([{ path, kind: 'unchanged' }]);
    await undo();
    expect(await readFile(path, 'utf8')).toBe('theirs');
  });

  test('puts back what is no longer wanted, and the folder that it made for it', async () => {
    await apply('ours');
    const outcomes = await (await Installation.open(root, realDisk)).apply([]);
    expect(outcomes).toEqual([{ path, kind: 'removed' }]);
    expect(Object.keys(await readTree(root)).filter((name) => !name.startsWith('.windlass'))).toEqual([]);
    await undo();
    expect(await readTree(folder)).toEqual({});
  });

  test('keeps a folder that it made when somebody else has put something into it', async () => {
    await apply('ours');
    await writeFile(join(root, 'docker.io', 'theirs.crt'), '');
    await undo();
    expect(Object.keys(await readTree(folder))).toEqual([
      'certs.d',
      'certs.d/docker.io',
      'certs.d/docker.io/theirs.crt',
    ]);
  });

  test('says what is left, and where what was there before is, until it is told to forget', async () => {
    await put('theirs');
    await apply('ours');
    await writeFile(path, 'ours, by a third');
    expect(await apply('ours, newer')).toEqual([{ path, kind: 'left', why: expect.stringMatching(/somebody else/) }]);
    const [outcome] = await undo();
    expect(outcome).toMatchObject({ path, kind: 'left' });
    const kept = /before is (.*)$/.exec(outcome?.why ?? '')?.[1] ?? '';
    expect(await readFile(kept, 'utf8')).toBe('theirs');

    await undo({ forget: true });
    expect(await readTree(root)).toMatchObject({ 'docker.io/hosts.toml': { content: 'ours, by a third' } });
    expect(Object.keys(await readTree(folder)).some((name) => name.includes('.windlass'))).toBe(false);
  });

  test.each([
    ['mode', () => chmod(path, 0o600)],
    ['content', () => writeFile(path, 'ours, by a third')],
  ])(
    'leaves a file whose %s somebody else changed, before it writes anew and before it puts back',
    async (_name, change) => {
      await put('theirs');
      await apply('ours');
      await change();
      const changed = (await readTree(root))['docker.io/hosts.toml'];
      expect(await apply('ours, newer')).toMatchObject([{ path, kind: 'left' }]);
      expect(await undo()).toMatchObject([{ path, kind: 'left' }]);
      expect((await readTree(root))['docker.io/hosts.toml']).toEqual(changed);
    },
  );

  test('leaves a file that somebody else changes while ours is written beside it', async () => {
    await put('theirs');
    const disk: Disk = {
      ...realDisk,
      write: async (at, bytes, mode) => {
        await realDisk.write(at, bytes, mode);
        if (at.endsWith('.hosts.toml.windlass')) await writeFile(path, 'theirs, newer');
      },
    };
    expect(await apply('ours', disk)).toMatchObject([{ path, kind: 'left' }]);
    expect(await readFile(path, 'utf8')).toBe('theirs, newer');
    await undo();
    expect(await readTree(folder)).toMatchObject({ 'certs.d/docker.io/hosts.toml': { content: 'theirs, newer' } });
    expect(Object.keys(await readTree(folder)).some((name) => name.includes('windlass'))).toBe(false);
  });

  test('never puts back what somebody else has made of what was kept', async () => {
    await put('theirs');
    await apply('ours');
    const kept = Object.keys(await readTree(root)).find((name) => /^\.windlass\/(?!record\.json)/.test(name));
    await writeFile(join(root, kept ?? ''), 'of a third');
    expect(await undo()).toEqual([
      { path, kind: 'left', why: expect.stringMatching(/somebody else changed .*windlass/) },
    ]);
    expect(await readFile(path, 'utf8')).toBe('ours');
  });

  test.each([
    ['with what it does not know', 'theirs, newer'],
    ['without it', undefined],
  ])('begins anew where somebody else writes the file anew, %s', async (_name, newer) => {
    await put('theirs');
    await apply('ours');
    await unlink(path);
    if (newer !== undefined) await writeFile(path, newer);
    const between = without(await readTree(root));
    expect(await apply('ours, newer')).toEqual([{ path, kind: 'written' }]);
    expect(await apply('ours, newer')).toEqual([{ path, kind: 'unchanged' }]);
    expect(await undo()).toEqual([{ path, kind: newer === undefined ? 'removed' : 'restored' }]);
    expect(await readTree(root)).toEqual(between);
  });

  test('says once of what it is not to write anew that it does not', async () => {
    await put('theirs');
    await apply('ours');
    await writeFile(path, 'theirs, newer');
    expect(await apply({ kind: 'refused', why: 'no' })).toEqual([{ path, kind: 'left', why: 'no' }]);
    expect(await undo()).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe('theirs, newer');
  });

  test('puts a file back onto another file system too', async () => {
    const otherFileSystem = async () => {
      throw Object.assign(new Error('cross-device link'), { code: 'EXDEV' });
    };
    const disk: Disk = {
      ...realDisk,
      link: otherFileSystem,
      rename: (from, to) => (to === path && from.includes('/.windlass/') ? otherFileSystem() : rename(from, to)),
    };
    await put('theirs');
    const before = await readTree(folder);
    await apply('ours', disk);
    expect(await readFile(path, 'utf8')).toBe('ours');
    expect(await undo({}, disk)).toEqual([{ path, kind: 'restored' }]);
    expect(await readTree(folder)).toEqual(before);
  });

  test('says of a file that cannot be written that it cannot, and leaves no half of it', async () => {
    await put('theirs');
    const disk: Disk = {
      ...realDisk,
      rename: async (from, to) => {
        if (to === path) throw Object.assign(new Error('read-only'), { code: 'EROFS' });
        await realDisk.rename(from, to);
      },
    };
    expect(await apply('ours', disk)).toEqual([{ path, kind: 'left', why: 'it cannot be written (EROFS)' }]);
    // It was never ours: whoever changes it now has not changed what we wrote.
    await writeFile(path, 'theirs, newer');
    expect(await undo()).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe('theirs, newer');
    expect(Object.keys(await readTree(folder))).toEqual([
      'certs.d',
      'certs.d/docker.io',
      'certs.d/docker.io/hosts.toml',
    ]);
  });

  test.each([true, false])(
    'is found at another path of the same folder, as a Pod has it (there before us: %s)',
    async (was) => {
      if (was) await put('theirs');
      const before = await readTree(folder);
      await apply('ours');
      // As good as a second mount.
      const [node, pod] = [root, join(folder, 'etc', 'certs')];
      await mkdir(join(folder, 'etc'));
      await rename(node, pod);
      [root, path] = [pod, join(pod, 'docker.io', 'hosts.toml')];
      expect(await apply('ours')).toEqual([{ path, kind: 'unchanged' }]);
      expect(await apply('ours, newer')).toEqual([{ path, kind: 'written' }]);
      expect(await undo()).toEqual([{ path, kind: was ? 'restored' : 'removed' }]);
      // The root itself was ours as well.
      if (was) await rename(pod, node);
      await rmdir(join(folder, 'etc'));
      expect(await readTree(folder)).toEqual(before);
    },
  );

  test('is found at another path also while its record lies beside the folder that is not made yet', async () => {
    const names = async () => Object.keys(await readTree(folder)).map((name) => name.replace(/-[0-9a-f]{16}/, '-…'));
    root = join(folder, 'etc', 'certs.d');
    path = join(root, 'docker.io', 'hosts.toml');
    await mkdir(join(folder, 'etc'));
    const disk: Disk = {
      ...realDisk,
      makeFolder: (at, mode) => (at === root ? cutOff() : realDisk.makeFolder(at, mode)),
    };
    await expect(apply('ours', disk)).rejects.toThrow('cut off');
    expect(await names()).toEqual(['etc', 'etc/.windlass-…', 'etc/.windlass-…/record.json']);
    await rename(join(folder, 'etc'), join(folder, 'host'));
    root = join(folder, 'host', 'certs.d');
    expect(await undo()).toEqual([]);
    expect(await names()).toEqual(['host']);
  });

  test.each([
    ['cannot be read', () => 'half'],
    ['is of another format', (record: string) => record.replace(/"format": \d+/, '"format": 3')],
  ])('does nothing once its record %s: it is all that tells what was there', async (_name, spoilt) => {
    await put('theirs');
    await apply('ours');
    const record = join(root, '.windlass', 'record.json');
    await writeFile(record, spoilt(await readFile(record, 'utf8')));
    await expect(undo()).rejects.toMatchObject({ code: 'RECORD_UNUSABLE', message: expect.stringContaining(root) });
    expect(await readFile(path, 'utf8')).toBe('ours');
  });
});
