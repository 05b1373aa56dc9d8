import { describe, expect, test } from 'vitest';
import { type CertsEntry, folderNames, hostFolders } from '../../../src/containerd/host-folders.ts';

const FOLDER: CertsEntry = { kind: 'folder' };

function folders(hosts: readonly (string | { host: string; endpoint: string })[], entries: Record<string, CertsEntry>) {
  const registries = hosts.map((host) => (typeof host === 'string' ? { host } : host));
  return hostFolders(registries, new Map(Object.entries(entries))).folders;
}

describe('the folders in which the mirror is named', () => {
  test('are looked for in the order of containerd', () => {
    expect(folderNames('registry.local:5000')).toEqual(['registry.local_5000_', 'registry.local:5000']);
    expect(folderNames('docker.io')).toEqual(['docker.io']);
  });

  test('are one for each registry where nothing is, each naming the registry itself', () => {
    expect(folders(['docker.io', 'quay.io', 'registry.local:5000', 'localhost:5000'], {})).toEqual([
      { folder: 'docker.io', server: 'https://registry-1.docker.io' },
      { folder: 'quay.io', server: 'https://quay.io' },
      { folder: 'registry.local:5000', server: 'https://registry.local:5000' },
      { folder: 'localhost:5000' },
    ]);
  });

  test('are those that containerd reads now', () => {
    expect(folders(['registry.local:5000'], { 'registry.local:5000': FOLDER })).toMatchObject([
      { folder: 'registry.local:5000' },
    ]);
    const both = { 'registry.local:5000': FOLDER, 'registry.local_5000_': FOLDER };
    expect(folders(['registry.local:5000'], both)).toMatchObject([{ folder: 'registry.local_5000_' }]);
  });

  test('never hide _default from a registry that it serves', () => {
    expect(folders(['docker.io', { host: 'a.io', endpoint: 'http://b' }], { _default: FOLDER })).toEqual([
      { folder: '_default' },
    ]);
  });

  test('for a pattern are _default and whatever is there for a host that it matches', () => {
    const entries = {
      'eu.gcr.io': FOLDER,
      'quay.io': FOLDER,
      'a.gcr.io_443_': FOLDER,
      'x.gcr.io': { kind: 'other' } as const,
    };
    expect(folders(['ghcr.io', '*.gcr.io'], entries)).toEqual([{ folder: '_default' }, { folder: 'eu.gcr.io' }]);
    expect(folders(['*'], entries)).toEqual([
      { folder: '_default' },
      { folder: 'eu.gcr.io' },
      { folder: 'quay.io' },
      { folder: 'a.gcr.io_443_' },
    ]);
  });

  test('beside _default, are those of registries that are elsewhere than their name says', () => {
    expect(folders(['*.gcr.io', 'quay.io', { host: 'a.io', endpoint: 'http://b:1' }], {})).toEqual(
      [{ folder: 'a.io', server: 'http://b:1' }, { folder: '_default' }].reverse(),
    );
  });

  test('name no registry where two share one', () => {
    const alias: CertsEntry = { kind: 'alias', folder: 'docker.io' };
    expect(folders(['docker.io', 'quay.io'], { 'docker.io': FOLDER, 'quay.io': alias })).toEqual([
      { folder: 'docker.io' },
    ]);
  });

  test('name no registry where a link leads there, or will', () => {
    expect(folders(['docker.io'], { _default: { kind: 'dangling', folder: 'docker.io' } })).toEqual([
      { folder: 'docker.io' },
    ]);
  });

  test.each([
    ['foreign', /outside of certs\.d/],
    ['dangling', /link to nothing/],
    ['other', /no folder/],
  ] as const)('are left alone if %s', (kind, why) => {
    const plan = hostFolders([{ host: 'docker.io' }], new Map([['docker.io', { kind }]]));
    expect(plan.folders).toEqual([]);
    expect(plan.left).toEqual([{ path: 'docker.io', why: expect.stringMatching(why) }]);
  });
});
