import { describe, expect, test } from 'vitest';
import { configPathFaults, discardsLayers } from '../../../src/containerd/config-path.ts';

const CERTS = '/etc/containerd/certs.d';
const V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n';
const OLD_TABLE = '[plugins."io.containerd.grpc.v1.cri".registry]\n';
const V3 = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n';

function faults(...texts: readonly string[]) {
  return configPathFaults(
    texts.map((text, index) => ({ path: `/etc/containerd/${index === 0 ? 'config' : index}.toml`, text })),
    CERTS,
  );
}

describe('discard_unpacked_layers', () => {
  const on = 'discard_unpacked_layers = true\n';
  test.each([
    ['2.x', true, [`version = 3\n[plugins."io.containerd.cri.v1.images"]\n${on}`]],
    ['1.x', true, [`version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n${on}`]],
    ['the first version of the file', true, [`[plugins.cri.containerd]\n${on}`]],
    [
      'the section of 1.x in a file of 2.x',
      false,
      [`version = 3\n[plugins."io.containerd.grpc.v1.cri".containerd]\n${on}`],
    ],
    [
      'turned off again by a later file',
      false,
      [on, on.replace('true', 'false')].map((line) => `version = 3\n[plugins."io.containerd.cri.v1.images"]\n${line}`),
    ],
    ['a file that does not parse', false, ['[[[']],
    ['no file', false, []],
  ])('%s: %s', (_name, is, texts) => {
    expect(discardsLayers(texts.map((text) => ({ path: '/c.toml', text })))).toBe(is);
  });
});

describe("containerd's config_path", () => {
  test.each([
    ['1.6 and 1.7', `${V2}config_path = "${CERTS}"\n`],
    ['2.x', `${V3}config_path = '${CERTS}/'\n`],
    ['1.x with the first version of the file', `[plugins.cri.registry]\nconfig_path = "${CERTS}"\n`],
    [
      '2.x that pulls by itself, where a list is read',
      `version = 3\n[plugins."io.containerd.cri.v1.images"]\nuse_local_image_pull = true\nregistry.config_path = "/a:${CERTS}"\n`,
    ],
  ])('is right: %s', (_name, text) => {
    expect(faults(text)).toEqual([]);
  });

  test.each([
    ['unset', 'no file', []],
    ['unset', 'no section', ['version = 3\n']],
    ['unset', 'an empty value', [`${V2}config_path = ""\n`]],
    ['list', 'the default of 2.x, written out', [`${V3}config_path = "${CERTS}:/etc/docker/certs.d"\n`]],
    ['elsewhere', 'another folder', [`${V3}config_path = "/etc/containerd/hosts.d"\n`]],
    ['wrong-section', 'the section of 2.x in a file of 1.x', [`${V3.replace('3', '2')}config_path = "${CERTS}"\n`]],
    ['wrong-section', 'the section of 1.x in a file of 2.x', [`${V2.replace('2', '3')}config_path = "${CERTS}"\n`]],
    [
      'both-sections',
      'both sections',
      [`${V3}config_path = "${CERTS}"\n${V2.replace('version = 2\n', '')}config_path = "${CERTS}"\n`],
    ],
    [
      'mirrors',
      'the old mirrors',
      [`${V2}[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = []\n`],
    ],
    ['unparsable', 'half a file', [`${V2}config_path = "`]],
  ])('%s: %s', (code, _name, texts) => {
    const found = faults(...texts);
    expect(found).toEqual([expect.objectContaining({ code, what: expect.any(String), mend: expect.any(String) })]);
    if (code !== 'unparsable') expect(`${found[0]?.what} ${found[0]?.mend}`).toMatch(/config_path/);
  });

  test.each([
    ['a list that names it', `${V3}config_path = "${CERTS}:/etc/docker/certs.d"\n`, { before: '2.2' }],
    ['a list that does not', `${V3}config_path = "/a:/b"\n`, undefined],
    ['no value', 'version = 3\n', { from: '2.0', before: '2.2' }],
    ['the section of 1.x in a file of 2.x', `${V2.replace('2', '3')}config_path = "${CERTS}"\n`, { from: '2.3' }],
    ['the section of 2.x in a file of 1.x', `${V3.replace('3', '2')}config_path = "${CERTS}"\n`, undefined],
    ['both sections, saying the same', `${V3}config_path = "${CERTS}"\n${OLD_TABLE}config_path = "${CERTS}"\n`, {}],
    [
      'both sections, saying otherwise',
      `${V3}config_path = "${CERTS}"\n${OLD_TABLE}config_path = "/a"\n`,
      { before: '2.3' },
    ],
  ])('does no harm with some releases: %s', (_name, text, harmless) => {
    expect(faults(text)[0]?.harmless).toEqual(harmless);
  });

  test('may be a list where layers are discarded: then containerd pulls by itself', () => {
    const list = `registry.config_path = "/a:${CERTS}"\n`;
    expect(faults(`${V3.replace('.registry]', ']')}discard_unpacked_layers = true\n${list}`)).toEqual([]);
  });

  const IMAGES = V3.replace('.registry]', ']');
  test.each([
    'max_concurrent_downloads = 5\n',
    'disable_snapshot_annotations = false\n',
    'image_pull_with_sync_fs = true\n',
    'registry.configs."a.example".tls.insecure_skip_verify = true\n',
    'registry.auths."a.example".username = "u"\n',
  ])('may be a list where containerd pulls by itself for %s', (line) => {
    expect(faults(`${IMAGES}${line}registry.config_path = "/a:${CERTS}"\n`)).toEqual([]);
  });

  test('must be one folder where settings are those of containerd', () => {
    const lines =
      'max_concurrent_downloads = 3\ndisable_snapshot_annotations = true\nimage_pull_with_sync_fs = false\n';
    expect(faults(`${IMAGES}${lines}registry.config_path = "/a:${CERTS}"\n`)).toMatchObject([{ code: 'list' }]);
  });

  test('is the list of containerd where it pulls by itself, unless registries are set in the old way', () => {
    const unset = (line: string) => faults(`${IMAGES}${line}`)[0]?.harmless;
    expect(unset('max_concurrent_downloads = 5\n')).toEqual({ from: '2.0' });
    expect(unset('registry.auths."a.example".username = "u"\n')).toBeUndefined();
  });

  test('is hidden in 1.x by an import that has the section without it; 2.x merges them', () => {
    const main = `${V2}config_path = "${CERTS}"\n`;
    const dropIn = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "pause"\n';
    const files = [main, dropIn].map((text, index) => ({ path: `/${index}.toml`, text }));
    expect(configPathFaults(files, CERTS, 'v1.7.27')).toMatchObject([
      {
        code: 'unset',
        what: expect.stringMatching(/import \/1\.toml hides/),
        mend: expect.stringContaining('/1.toml'),
      },
    ]);
    expect(configPathFaults(files, CERTS, 'v2.3.4')).toEqual([]);
    expect(configPathFaults([...files].reverse(), CERTS, 'v1.7.27')).toEqual([]);
    const discards = {
      path: '/d.toml',
      text: `version = 2\n${OLD_TABLE.replace('registry', 'containerd')}discard_unpacked_layers = true\n`,
    };
    expect(discardsLayers([discards, ...files], 'v1.7.27')).toBe(false);
    expect(discardsLayers([discards, ...files], 'v2.3.4')).toBe(true);
  });

  test('stands in the section that its own file has: of each, in 2.x, by its own version', () => {
    const dropIn = `${V2}config_path = "${CERTS}"\n`;
    expect(faults('version = 3\n', dropIn)).toEqual([]);
    expect(faults('version = 3\n', `[plugins.cri.registry]\nconfig_path = "${CERTS}"\n`)).toEqual([]);
    expect(faults(`${V3}config_path = "${CERTS}"\n`, dropIn.replace(CERTS, '/other'))).toMatchObject([
      { code: 'elsewhere' },
    ]);
    expect(faults('version = 3\n', `${V2.replace('2', '3')}config_path = "/a"\n`)).toMatchObject([
      { code: 'wrong-section', what: expect.stringContaining('/etc/containerd/1.toml') },
    ]);
  });

  test('is that of the last file which sets it', () => {
    expect(faults(`${V3}config_path = "/other"\n`, `${V3}config_path = "${CERTS}"\n`)).toEqual([]);
    expect(faults(`${V3}config_path = "${CERTS}"\n`, `${V3}config_path = "/other"\n`)).toMatchObject([
      { code: 'elsewhere' },
    ]);
  });

  test('is written into the section that the file has', () => {
    expect(faults('version = 2\n')[0]?.mend).toContain('[plugins."io.containerd.grpc.v1.cri".registry]');
    expect(faults('version = 3\n')[0]?.mend).toContain('[plugins."io.containerd.cri.v1.images".registry]');
    expect(faults()[0]?.mend).toMatch(/version = 3 .*version = 2/);
  });
});
