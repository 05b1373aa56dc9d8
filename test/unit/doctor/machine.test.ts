import { describe, expect, test } from 'vitest';
import { checkClock } from '../../../src/doctor/clock-check.ts';
import { diskFindings } from '../../../src/doctor/disk-check.ts';
import { type Limits, limitFindings } from '../../../src/doctor/limits-check.ts';
import { isMirrorOrigin } from '../../../src/doctor/subject.ts';
import { subjectWith } from '../../support/doctor.ts';

const GOOD: Limits = { openFiles: 1_048_576, backlog: 4096, inotify: undefined };

async function limits(changes: Partial<Limits>, ...flags: string[]) {
  const { settings } = await subjectWith(flags);
  return limitFindings({ ...GOOD, ...changes }, settings).map(({ code }) => code);
}

describe('limits of the kernel', () => {
  test.each<[Partial<Limits>, string[]]>([
    [{}, []],
    [{ openFiles: undefined, backlog: undefined }, []],
    [{ openFiles: 1024 }, ['limit-open-files']],
    [{ openFiles: 9216 }, []],
    [{ backlog: 128 }, ['limit-backlog']],
    [{ inotify: 'EMFILE' }, ['limit-inotify']],
    [{ openFiles: 1, backlog: 1, inotify: 'ENOSPC' }, ['limit-open-files', 'limit-backlog', 'limit-inotify']],
  ])('%j', async (changes, codes) => {
    expect(await limits(changes)).toEqual(codes);
  });

  test('are higher where there are other agents, and as the settings are', async () => {
    const swarm = ['--discovery.kind=static', '--discovery.peers=10.0.0.1:5052', '--cluster.insecure=true'];
    expect(await limits({ openFiles: 9216 }, ...swarm)).toEqual(['limit-open-files']);
    expect(await limits({ openFiles: 1124 }, '--mirror.max-connections=100')).toEqual([]);
  });
});

describe('a disk', () => {
  const GIB = 2 ** 30;
  const disk = { bsize: 4096, blocks: (100 * GIB) / 4096, bavail: (50 * GIB) / 4096, files: 1e6, ffree: 9e5 };
  const store = { path: '/s', minFree: 0.2, maxSize: 20 * GIB };
  const codes = (changes: Partial<typeof disk>, settings = store) =>
    diskFindings({ ...disk, ...changes }, settings).map(({ code }) => code);

  test.each<[string, Partial<typeof disk>, string[]]>([
    ['with room', {}, []],
    ['under what is to stay free', { bavail: (19 * GIB) / 4096 }, ['disk-full']],
    ['smaller than the store may become', { blocks: (24 * GIB) / 4096, bavail: (20 * GIB) / 4096 }, ['disk-small']],
    ['without inodes', { ffree: 100 }, ['disk-inodes']],
    ['that counts no inodes', { files: 0, ffree: 0 }, []],
    ['of no size', { blocks: 0, bavail: 0 }, ['disk-small']],
  ])('%s', (_name, changes, expected) => {
    expect(codes(changes)).toEqual(expected);
  });
});

test('a clock that was never set', async () => {
  const { findings } = await checkClock(await subjectWith([]), () => 86_400_000);
  expect(findings).toMatchObject([{ code: 'clock-unset', severity: 'error' }]);
});

test.each<[string, readonly string[], boolean]>([
  ['http://127.0.0.1:5050', [], true],
  ['http://[::1]:5050', [], true],
  ['http://localhost:5050', [], true],
  ['https://127.0.0.1:5050', [], false],
  ['http://127.0.0.1:5051', [], false],
  ['http://10.0.0.1:5050', [], false],
  ['http://10.0.0.1:5050', ['--mirror.listen=0.0.0.0:5050'], true],
  ['nonsense', [], false],
])('%s with %j is the mirror: %s', async (origin, flags, is) => {
  const { settings } = await subjectWith(flags);
  expect(isMirrorOrigin(settings.mirror.listen, origin)).toBe(is);
});
