import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { wantedHosts } from '../../../src/containerd/certs-dir.ts';
import { realDisk } from '../../../src/containerd/disk.ts';
import { Installation, type WantedContent } from '../../../src/containerd/installation.ts';
import { wantedRegistries } from '../../../src/containerd/registries-dir.ts';
import { makeTree } from '../../support/file-tree.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'windlass-wanted-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const file = (content: string) => ({ kind: 'file', mode: 0o644, content }) as const;

function textOf(content: WantedContent | undefined): string {
  return content?.kind === 'bytes' ? Buffer.from(content.bytes).toString() : JSON.stringify(content);
}

test('a new hosts.toml names the certificates that containerd found beside it as long as there was none', async () => {
  await makeTree(root, {
    'registry.corp/corp.crt': file('ca'),
    'registry.corp/client.cert': file('cert'),
    'registry.corp/client.key': file('key'),
  });
  const installation = await Installation.open(root, realDisk);
  const { files } = await wantedHosts(root, 'http://127.0.0.1:5050', [{ host: 'registry.corp' }], installation);
  expect(files.map(({ path }) => path)).toEqual([join(root, 'registry.corp', 'hosts.toml')]);
  const text = textOf(files[0]?.content(undefined));
  expect(text).toContain('\nca = ["corp.crt"]\nclient = [["client.cert","client.key"]]\n');
});

test('a drop-in of our name that somebody else wrote is left, and those of other names are read', async () => {
  await makeTree(root, { '10-corp.conf': file('[[registry]]\nlocation = "quay.io"\n') });
  const registries = [{ host: 'docker.io' }, { host: 'quay.io' }];
  const { files, foregone } = await wantedRegistries(root, '127.0.0.1:5050', registries);
  expect(foregone).toMatchObject([{ path: 'quay.io', kind: 'left' }]);
  expect(files.map(({ path }) => path)).toEqual([join(root, '50-windlass.conf')]);
  expect(textOf(files[0]?.content(undefined))).toContain('location = "127.0.0.1:5050/docker.io"');
  expect(files[0]?.content(Buffer.from('# by hand\n'))).toMatchObject({ kind: 'refused' });
});
