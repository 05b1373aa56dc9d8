import { resolve } from 'node:path';
import type { Settings } from '../config/settings.ts';

export interface ContainerdPaths {
  /** Where hosts.toml files are looked for. */
  readonly certsDir: string;
  /** containerd's own configuration. */
  readonly configFile: string;
  /** Where its content store keeps what it holds. */
  readonly contentDir: string;
  /** Where it listens. */
  readonly socket: string;
}

export type Preset = Settings['containerd']['preset'];

const CONTENT = 'io.containerd.content.v1.content';
const COMMON: ContainerdPaths = {
  certsDir: '/etc/containerd/certs.d',
  configFile: '/etc/containerd/config.toml',
  contentDir: `/var/lib/containerd/${CONTENT}`,
  socket: '/run/containerd/containerd.sock',
};

/**
 * Where distributions keep them. K3s and RKE2 write both files anew when they start, from their registries.yaml; Talos
 * does when its machine configuration is applied. GKE documents hosts.d (RegistryHostConfig.server of its API).
 */
const PRESETS: Readonly<Record<Preset, ContainerdPaths>> = {
  default: COMMON,
  k3s: rancher('k3s'),
  rke2: rancher('rke2'),
  talos: { ...COMMON, certsDir: '/etc/cri/conf.d/hosts', configFile: '/etc/cri/conf.d/cri.toml' },
  gke: { ...COMMON, certsDir: '/etc/containerd/hosts.d' },
  eks: COMMON,
  aks: COMMON,
};

/** What is set, else what the preset says. */
export function containerdPaths(
  { preset, certsDir, configFile, contentDir, socket }: Settings['containerd'],
  cwd: string,
): ContainerdPaths {
  const standard = PRESETS[preset];
  return {
    certsDir: resolve(cwd, certsDir === '' ? standard.certsDir : certsDir),
    configFile: resolve(cwd, configFile === '' ? standard.configFile : configFile),
    contentDir: resolve(cwd, contentDir === '' ? standard.contentDir : contentDir),
    socket: resolve(cwd, socket === '' ? standard.socket : socket),
  };
}

function rancher(name: string): ContainerdPaths {
  const agent = `/var/lib/rancher/${name}/agent`;
  return {
    certsDir: `${agent}/etc/containerd/certs.d`,
    configFile: `${agent}/etc/containerd/config.toml`,
    contentDir: `${agent}/containerd/${CONTENT}`,
    // Both in one place, whichever of them it is.
    socket: '/run/k3s/containerd/containerd.sock',
  };
}
