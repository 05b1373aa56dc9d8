import { which } from '../../support/commands.ts';

/** Where Debian has its plugins. */
export const CNI_FOLDER = '/usr/lib/cni';
export const PAUSE_IMAGE = 'lab.local/pause:1';

/** As most clusters have it: config_path set, registries' own folders below it. */
export function containerdConfig(major: 1 | 2): string {
  // CAP_SYS_RESOURCE may be missing here: without restrict_oom_score_adj no Pod would start.
  if (major === 1) {
    return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`;
  }
  return `version = 3
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/etc/containerd/certs.d"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = "${which('runc') ?? 'runc'}"
    SystemdCgroup = false
`;
}

/** A bridge of the node's own for its Pods. */
export function networkConfig(node: number): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: 'lab',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: podNetwork(node) }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
}

export function podNetwork(node: number): string {
  return `10.244.${node}.0/24`;
}
