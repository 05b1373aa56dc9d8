import { describe, expect, test } from 'vitest';
import { checkConfigPath } from '../../../src/doctor/config-path-check.ts';
import { checkLayers } from '../../../src/doctor/layers-check.ts';
import { subjectWith } from '../../support/doctor.ts';

const SECTION = '[plugins."io.containerd.cri.v1.images".registry]\n';
const LIST = `version = 3\n${SECTION}config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n`;

async function severity(text: string, version: string | undefined) {
  const { findings } = checkConfigPath(await subjectWith([]), [{ path: '/c.toml', text }], version);
  return findings.map((finding) => finding.severity);
}

describe('a fault of config_path', () => {
  test.each([
    ['v1.6.20', 'warning'],
    ['2.1.5', 'warning'],
    ['v2.2.0', 'error'],
    ['v2.10.0', 'error'],
    ['v3.0.0', 'error'],
    ['devel', 'error'],
    [undefined, 'error'],
  ])('is as bad as the release that runs takes it: a list, %s', async (version, expected) => {
    expect(await severity(LIST, version)).toEqual([expected]);
  });

  test('is as bad as the release that runs takes it: none at all', async () => {
    expect(await severity('version = 2\n', 'v1.7.2')).toEqual(['error']);
    expect(await severity('version = 3\n', 'v2.1.0')).toEqual(['warning']);
    expect(await severity('version = 3\n', 'v2.3.4')).toEqual(['error']);
  });

  test.each([
    ['default', /systemctl restart containerd/],
    ['k3s', /config-v3\.toml\.tmpl.*systemctl restart k3s/],
    ['rke2', /systemctl restart rke2-server/],
    ['talos', /machine configuration/],
    ['gke', /node pool/],
    ['eks', /NodeConfig/],
    ['aks', /node image/],
  ])('says who restarts containerd, and where that is documented: %s', async (preset, how) => {
    const subject = await subjectWith([`--containerd.preset=${preset}`]);
    const [fault] = checkConfigPath(subject, [], undefined).findings;
    expect(fault).toMatchObject({ code: 'config-path-unset', mend: expect.stringMatching(how) });
    expect(fault?.docs).toMatch(/^https:\/\//);
    expect(fault?.what).toContain(subject.paths.configFile);
    const layers = `version = 3\n[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n`;
    expect(checkLayers(subject, [{ path: '/c.toml', text: layers }], undefined).findings[0]?.mend).toMatch(how);
  });
});
