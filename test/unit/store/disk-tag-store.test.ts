import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DiskTagStore } from '../../../src/store/disk-tag-store.ts';
import { redis, tagRecord } from '../../conformance/tag-store.ts';
import { capturingLogger, temporaryFolder } from './store-fixture.ts';

async function filesIn(path: string): Promise<string[]> {
  const entries = await readdir(join(path, 'tags'), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe('tags on disk', () => {
  it('are remembered across restarts, and what was deleted is not', async () => {
    const path = await temporaryFolder();
    const { logger } = capturingLogger();
    const before = new DiskTagStore({ path, logger });
    await before.set(redis, '7', tagRecord('a'));
    await before.set(redis, '8', tagRecord('b'));
    await before.delete(redis, '8');
    const after = new DiskTagStore({ path, logger });
    expect(await after.get(redis, '7')).toEqual(tagRecord('a'));
    expect(await after.get(redis, '8')).toBeUndefined();
    expect(await filesIn(path)).toHaveLength(1);
  });

  it.each([
    ['empty', () => ''],
    ['cut', (text: string) => text.slice(0, 50)],
    ['of another tag', (text: string) => text.replace(':7', ':6')],
    ['with a wrong digest', (text: string) => text.replace('sha256:aa', 'sha256:xx')],
    ['with a wrong size', (text: string) => text.replace('1234', '-1')],
    ['not an object', () => 'null'],
  ])('count as absent, with a log line, when the file is %s; and can be set again', async (_, mangle) => {
    const path = await temporaryFolder();
    const { logger, lines } = capturingLogger();
    await new DiskTagStore({ path, logger }).set(redis, '7', tagRecord('a'));
    const [file = ''] = await filesIn(path);
    await writeFile(file, mangle(await readFile(file, 'utf8')));
    const tags = new DiskTagStore({ path, logger });
    expect(await tags.get(redis, '7')).toBeUndefined();
    expect(lines).toEqual([expect.objectContaining({ level: 40, tag: 'docker.io/library/redis:7' })]);
    expect(await tags.delete(redis, '7')).toBe(false);
    await tags.set(redis, '7', tagRecord('b'));
    expect(await new DiskTagStore({ path, logger }).get(redis, '7')).toEqual(tagRecord('b'));
  });

  it('are held in memory where the disk takes none', async () => {
    const path = await temporaryFolder();
    await writeFile(join(path, 'tags'), 'no folder');
    const { logger, lines } = capturingLogger();
    const tags = new DiskTagStore({ path, logger });
    await tags.set(redis, '7', tagRecord('a'));
    expect(await tags.get(redis, '7')).toEqual(tagRecord('a'));
    expect(lines[0]).toMatchObject({ level: 40, msg: 'tag cannot be written' });
  });

  it('are bounded: the oldest go, and so do temporary files of an earlier process', async () => {
    const path = await temporaryFolder();
    const { logger, lines } = capturingLogger();
    const before = new DiskTagStore({ path, logger });
    for (let i = 0; i < 20; i += 1) await before.set(redis, `old${i}`, tagRecord('a'));
    const files = await filesIn(path);
    for (const [i, file] of files.entries()) await utimes(file, 1000 + i, 1000 + i);
    await writeFile(`${files[0]}.99-abcdef-1.tmp`, 'half');
    const tags = new DiskTagStore({ path, logger, maxTags: 10 });
    await tags.set(redis, 'new', tagRecord('b'));
    await expect.poll(() => filesIn(path)).toHaveLength(9);
    expect(await tags.get(redis, 'new')).toEqual(tagRecord('b'));
    const left = await Promise.all((await filesIn(path)).map(async (file) => (await stat(file)).mtimeMs / 1000));
    expect(left.filter((time) => time < 2000).sort()).toEqual([1012, 1013, 1014, 1015, 1016, 1017, 1018, 1019]);
    await expect.poll(() => lines.at(-1)).toMatchObject({ msg: 'old tags removed', removed: 12 });
    for (let i = 0; i < 30; i += 1) await tags.set(redis, `more${i}`, tagRecord('c'));
    await expect.poll(async () => (await filesIn(path)).length).toBeLessThanOrEqual(11);
  });

  it('leave a tenth of the room free once they were counted, so that not each one that is set again is a count', async () => {
    const path = await temporaryFolder();
    const { logger } = capturingLogger();
    const before = new DiskTagStore({ path, logger });
    for (let i = 0; i < 10; i += 1) await before.set(redis, `${i}`, tagRecord('a'));
    await writeFile(join(path, 'tags', 'junk'), 'is left alone, and in nobody\u2019s way');
    const tags = new DiskTagStore({ path, logger, maxTags: 10 });
    await tags.set(redis, '3', tagRecord('b'));
    await expect.poll(() => filesIn(path)).toHaveLength(9 + 1);
    expect(await tags.get(redis, '3')).toEqual(tagRecord('b'));
  });
});
