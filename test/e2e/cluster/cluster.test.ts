import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { which } from '../../support/commands.ts';
import { eventually } from '../../support/eventually.ts';
import { type FileTree, makeTree, readTree } from '../../support/file-tree.ts';
import { buildBusyboxImage, type Image } from '../../support/image.ts';
import { describeWith } from '../../support/requires.ts';
import { expectOnce } from '../lab/expect-once.ts';
import { clusterMissing, KubeCluster, mixedContainerds } from './kube-cluster.ts';
import type { KubeNode } from './kube-node.ts';
import { daemonSet, pod, rolledOut, runsOn } from './workload.ts';

const CHART = fileURLToPath(new URL('../../../charts/windlass', import.meta.url));
const NAMESPACE = 'windlass';
const TAINT = 'windlass.dev/agent-not-ready';
const REPOSITORY = 'library/app';
const MIB = 1024 * 1024;

/** What an administrator had there before: docker.io comes from elsewhere, in a file of odd rights; another registry. */
const BEFORE: FileTree = {
  'docker.io': { kind: 'folder', mode: 0o750 },
  'docker.io/hosts.toml': {
    kind: 'file',
    mode: 0o640,
    content: '# by hand, 2024\nserver = "http://upstream.lab:5000"\n\n[host."http://upstream.lab:5000"] # ours\n',
  },
  'registry.internal:5000': { kind: 'folder', mode: 0o755 },
  'registry.internal:5000/hosts.toml': { kind: 'file', mode: 0o600, content: 'server = "https://registry.internal"' },
};

describeWith('a Kubernetes cluster, one node of it with containerd 1.6', clusterMissing, () => {
  let cluster: KubeCluster;

  beforeAll(async () => {
    cluster = await KubeCluster.start({ nodes: mixedContainerds(), mostNodes: 4, prepare });
  });
  afterAll(() => cluster?.dispose());

  async function prepare(node: KubeNode): Promise<void> {
    await mkdir(node.disk('/etc/containerd/certs.d'), { recursive: true });
    await makeTree(node.disk('/etc/containerd/certs.d'), BEFORE);
  }

  it('has nodes that run Pods', async () => {
    const image = await push('plain');
    await cluster.apply(daemonSet('plain', 'app:plain'));
    await rolledOut(cluster, 'plain');
    expect((await cluster.registry.report()).otherBytes).toBeGreaterThan(3 * image.totalBytes * 0.9);
  });

  async function push(tag: string, layers: readonly string[] = [tag]): Promise<Image> {
    const busybox = which('busybox') ?? '/bin/busybox';
    const image = await buildBusyboxImage(busybox, { seed: tag, layerBytes: layers.map(() => 4 * MIB) });
    await cluster.push(REPOSITORY, tag, image);
    return image;
  }
});
