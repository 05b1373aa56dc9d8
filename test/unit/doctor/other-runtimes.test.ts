import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkRuntime } from '../../../src/doctor/runtime-check.ts';
import { subjectWith } from '../../support/doctor.ts';
import { type FileTree, makeTree } from '../../support/file-tree.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'windlass-doctor-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const file = (content = '') => ({ kind: 'file', mode: 0o644, content }) as const;
const CRIO = { 'run/crio/crio.sock': file() };
const DOCKER = { 'run/docker.sock': file() };
const DROP_IN = 'etc/containers/registries.conf.d/50-windlass.conf';

const answers = { version: async () => 'v2.3.4' };
const absent = { version: () => Promise.reject(new Error('14 UNAVAILABLE: connect ENOENT /run/c.sock.')) };
const denied = { version: () => Promise.reject(new Error('14 UNAVAILABLE: connect EACCES /run/c.sock.')) };

async function look(tree: FileTree, calls: typeof answers) {
  await makeTree(root, tree);
  const { seen, findings, isOther } = await checkRuntime(await subjectWith([], root), calls);
  return { seen, isOther, codes: findings.map(({ code }) => code) };
}

test.each<[string, FileTree, typeof answers, boolean, string[]]>([
  ['containerd alone', {}, answers, false, []],
  ['nothing', {}, absent, false, ['socket-silent']],
  ['a containerd that may not be asked', {}, denied, false, ['socket-denied']],
  ['CRI-O, as it should be', { ...CRIO, [DROP_IN]: file('"127.0.0.1:5050/docker.io"') }, absent, true, []],
  ['CRI-O without the mirror', CRIO, absent, true, ['crio-not-configured']],
  ['CRI-O with another', { ...CRIO, [DROP_IN]: file('"127.0.0.1:5049/a"') }, absent, true, ['crio-not-configured']],
  ['Docker', DOCKER, absent, true, ['docker-not-configured']],
  [
    'Docker with the mirror, beside containerd',
    { ...DOCKER, 'etc/docker/daemon.json': file('{"registry-mirrors":["http://127.0.0.1:5050"]}') },
    answers,
    false,
    [],
  ],
  ['CRI-O beside a containerd', CRIO, answers, false, ['crio-not-configured']],
])('%s', async (_name, tree, calls, isOther, codes) => {
  expect(await look(tree, calls)).toMatchObject({ isOther, codes });
});

test('a containerd that is older than any that was tried', async () => {
  expect((await look({}, { version: async () => 'v1.5.9' })).codes).toEqual(['containerd-too-old']);
  expect((await look({}, { version: async () => '1.6.20~ds1' })).codes).toEqual([]);
});
