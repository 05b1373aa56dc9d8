import type { Preset } from '../containerd/presets.ts';

const CONTAINERD = 'https://github.com/containerd/containerd/blob/main/docs';

/** Where others document what doctor speaks of. */
export const DOCUMENTS = {
  hostsToml: `${CONTAINERD}/hosts.md`,
  criRegistry: `${CONTAINERD}/cri/registry.md`,
  criConfig: `${CONTAINERD}/cri/config.md`,
  containerdStart: `${CONTAINERD}/getting-started.md`,
  crioMirrors: 'https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md',
  dockerMirrors: 'https://docs.docker.com/docker-hub/image-library/mirror/',
  eviction: 'https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/',
  networkPolicies: 'https://kubernetes.io/docs/concepts/services-networking/network-policies/',
  ports: 'https://kubernetes.io/docs/reference/networking/ports-and-protocols/',
  debugPods: 'https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/',
  openFiles: 'https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#Process%20Properties',
  somaxconn: 'https://man7.org/linux/man-pages/man2/listen.2.html',
  inotify: 'https://man7.org/linux/man-pages/man7/inotify.7.html',
  chrony: 'https://chrony-project.org/documentation.html',
  imageNames: 'https://kubernetes.io/docs/concepts/containers/images/',
} as const;

export interface RestartAdvice {
  /** Who writes containerd's configuration, and how containerd comes to read it. */
  readonly how: string;
  readonly docs: string;
}

const SYSTEMD =
  'systemctl restart containerd, as root on the node; containers go on running, and pulls under way begin again';

/** containerd reads config.toml when it starts, and only then. */
export const RESTART: Readonly<Record<Preset, RestartAdvice>> = {
  default: { how: SYSTEMD, docs: DOCUMENTS.criRegistry },
  k3s: {
    how: 'K3s writes that file anew each time it starts: change its template (config-v3.toml.tmpl; config.toml.tmpl with containerd 1.x) or registries.yaml, then systemctl restart k3s (k3s-agent on agents)',
    docs: 'https://docs.k3s.io/advanced',
  },
  rke2: {
    how: 'RKE2 writes that file anew each time it starts: change its template (config-v3.toml.tmpl; config.toml.tmpl with containerd 1.x) or registries.yaml, then systemctl restart rke2-server (rke2-agent on agents)',
    docs: 'https://docs.rke2.io/advanced',
  },
  talos: {
    how: 'Talos makes that file of its machine configuration: patch it there (20-customization.part, or a CRICustomizationConfig document from 1.15 on); up to 1.14 the node is to be rebooted, later ones restart CRI themselves',
    docs: 'https://www.talos.dev/latest/talos-guides/configuration/containerd/',
  },
  gke: {
    how: "GKE writes that file: change the node pool's containerd configuration, and GKE makes its nodes anew; what is changed on a node by hand is lost with it",
    docs: 'https://cloud.google.com/kubernetes-engine/docs/how-to/customize-containerd-configuration',
  },
  eks: {
    how: `set it in the NodeConfig of the node group's launch template (spec.containerd.config), which holds for new nodes; on this one ${SYSTEMD}`,
    docs: 'https://awslabs.github.io/amazon-eks-ami/nodeadm/doc/examples/',
  },
  aks: {
    how: `AKS sets it when it makes a node: upgrade the node image; on this one ${SYSTEMD}`,
    docs: 'https://learn.microsoft.com/azure/aks/node-image-upgrade',
  },
};

/** The end of a sentence on what is to be mended. */
export function restartHere(preset: Preset): string {
  return `Here (containerd.preset ${preset}): ${RESTART[preset].how}`;
}
