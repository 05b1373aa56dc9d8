import { expect, test } from 'vitest';
import { readSettings } from '../../../src/config/load-settings.ts';
import { containerdPaths } from '../../../src/containerd/presets.ts';

async function paths(...flags: string[]) {
  const { settings } = await readSettings({ flags, env: {}, cwd: '/' });
  return containerdPaths(settings.containerd, '/');
}

test('a preset says where the folders are, and what is set counts before it', async () => {
  const contentDir = '/var/lib/containerd/io.containerd.content.v1.content';
  expect(await paths()).toEqual({
    certsDir: '/etc/containerd/certs.d',
    configFile: '/etc/containerd/config.toml',
    contentDir,
    socket: '/run/containerd/containerd.sock',
  });
  expect(await paths('--containerd.preset=k3s')).toEqual({
    certsDir: '/var/lib/rancher/k3s/agent/etc/containerd/certs.d',
    configFile: '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
    contentDir: '/var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content',
    socket: '/run/k3s/containerd/containerd.sock',
  });
  expect(await paths('--containerd.preset=talos', '--containerd.config-file=/c.toml')).toEqual({
    certsDir: '/etc/cri/conf.d/hosts',
    configFile: '/c.toml',
    contentDir,
    socket: '/run/containerd/containerd.sock',
  });
  await expect(paths('--containerd.preset=k4s')).rejects.toThrow(/write one of default, k3s, rke2/);
});
