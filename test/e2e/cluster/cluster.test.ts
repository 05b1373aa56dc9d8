import { mkdir } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { which } from '../../support/commands.ts';
import { eventually } from '../../support/eventually.ts';
import { type FileTree, makeTree, readTree } from '../../support/file-tree.ts';
import { CHART } from '../../support/helm.ts';
import { builtHelm } from '../../support/helm-binary.ts';
import { buildBusyboxImage, type Image, seededBytes } from '../../support/image.ts';
import { describeWith } from '../../support/requires.ts';
import { buildWindlassImage, type WindlassImage, windlassImageMissing } from '../../support/windlass-image.ts';
import { expectOnce } from '../lab/expect-once.ts';
import { clusterMissing, KubeCluster, mixedContainerds } from './kube-cluster.ts';
import type { KubeNode } from './kube-node.ts';
import { daemonSet, failedPulls, pod, rolledOut, runsOn } from './workload.ts';

const CERTS = '/etc/containerd/certs.d';
const NAMESPACE = 'windlass';
const TAINT = 'windlass.dev/agent-not-ready';
const REPOSITORY = 'library/app';
const MIB = 1024 * 1024;

/** What an administrator had there: docker.io comes from elsewhere, by a file of odd rights; and a registry of theirs. */
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

/** One after the other, each goes on where the one before ended. */
const built = builtHelm();
const missing = [...clusterMissing, typeof built === 'string' ? built : undefined, await windlassImageMissing()];

describeWith('a Kubernetes cluster, one node of it with containerd 1.6', missing, () => {
  let cluster: KubeCluster;
  let agentImage: WindlassImage;
  const before = new Map<string, FileTree>();

  beforeAll(async () => {
    agentImage = await buildWindlassImage();
    cluster = await KubeCluster.start({ nodes: mixedContainerds(), mostNodes: 4, prepare });
    await cluster.load(agentImage.archive);
  });
  afterAll(() => cluster?.dispose());

  it('helm install: an agent on each node, ready, and containerd asks it', async () => {
    await helm('install', ...values(), '--create-namespace', '--wait');
    await rolledOut(cluster, 'windlass', NAMESPACE);
    await helm('test');
  });

  it('a DaemonSet of an image that nobody has: upstream gives it once, and all Pods run', async () => {
    const image = await push('v1', ['shared', 'one']);
    await cluster.apply(daemonSet('app', 'app:v1'));
    await rolledOut(cluster, 'app');
    expectOnce(await cluster.registry.report(), [image]);
  });

  it('a roll-out of its next version: only what is new, once', async () => {
    const image = await push('v2', ['shared', 'two']);
    await cluster.apply(daemonSet('app', 'app:v2'));
    await rolledOut(cluster, 'app');
    const { gets, otherBytes } = await cluster.registry.report();
    const [, shared, ...fresh] = [...image.layers];
    expect(gets.get(shared?.digest ?? '')).toBeUndefined();
    for (const { digest } of fresh) expect(gets.get(digest)).toBe(1);
    expect(otherBytes).toBe(0);
  });

  it('a node that dies in the middle of a pull: the others have their Pods, and it has when it is back', async () => {
    const [upstream] = cluster.network.hosts.filter(({ name }) => name === 'upstream');
    if (upstream === undefined) throw new Error('no upstream');
    await cluster.network.limit(upstream, { up: 40 });
    const image = await push('v3', ['3a', '3b', '3c', '3d', '3e']);
    const victim = cluster.node('n2');
    await cluster.apply(daemonSet('app', 'app:v3'));
    await eventually(async () => (await cluster.registry.report()).gets.size > 2, { timeoutMs: 120_000 });
    await victim.kill();
    await runsOn(cluster, 'app', ['n1', 'n3'], 'app:v3');
    await cluster.network.limit(upstream, {});
    const { gets } = await cluster.registry.report();
    // It may have been the writer of some; its death costs those one more request each, by Range.
    for (const { digest } of image.blobs) expect(gets.get(digest)).toBeLessThanOrEqual(2);
    await victim.start();
    await cluster.ready(victim);
    await runsOn(cluster, 'app', ['n1', 'n2', 'n3'], 'app:v3');
  });

  it('a new node, upstream away: it takes Pods when its mirror serves, and has their image from its peers', async () => {
    const [upstream] = cluster.network.hosts.filter(({ name }) => name === 'upstream');
    if (upstream === undefined) throw new Error('no upstream');
    await cluster.network.cut(upstream);
    const [containerd] = mixedContainerds();
    if (containerd === undefined) throw new Error('no containerd');
    const node = await cluster.addNode(containerd, { taints: `${TAINT}=:NoSchedule`, prepare });
    await node.load(agentImage.archive);
    await runsOn(cluster, 'app', ['n4'], 'app:v3');
    expect(await cluster.kubectl('get', 'node', 'n4', '-o', 'jsonpath={.spec.taints}')).not.toContain(TAINT);
    await cluster.network.mend(upstream);
  });

  it('helm upgrade and rollback while Pods are made all the time: no pull fails', async () => {
    await push('busy');
    let made = 0;
    const stop = new AbortController();
    const making = (async () => {
      while (!stop.signal.aborted) {
        made += 1;
        // Always: each asks for its tag anew.
        await cluster.apply(pod(`busy-${made}`, 'app:busy', `n${1 + (made % 4)}`));
        await runsOn(cluster, `busy-${made}`, [`n${1 + (made % 4)}`], 'app:busy');
      }
    })();
    await helm('upgrade', ...values(), '--set', 'config.log.level=debug', '--wait');
    await rolledOut(cluster, 'windlass', NAMESPACE);
    await helm('rollback', '--wait');
    await rolledOut(cluster, 'windlass', NAMESPACE);
    stop.abort();
    await making;
    expect(made).toBeGreaterThan(4);
    expect(await failedPulls(cluster)).toEqual([]);
  });

  it('helm uninstall: every node as it was, byte for byte and mode for mode; pulls go on upstream', async () => {
    await helm('uninstall', '--wait');
    for (const node of cluster.nodes) expect(await readTree(node.disk(CERTS))).toEqual(before.get(node.name));
    const left = await cluster.kubectl(
      '-n',
      NAMESPACE,
      'get',
      'all,configmaps,secrets,roles,rolebindings,serviceaccounts',
      '-o',
      'name',
    );
    expect(left.split('\n').filter((name) => name !== '' && !/\/(default|kube-root-ca\.crt)$/.test(name))).toEqual([]);
    const cluster_ = await cluster.kubectl(
      'get',
      'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings',
      '-o',
      'name',
    );
    expect(cluster_).not.toContain('windlass');
    await push('v4');
    await cluster.apply(daemonSet('app', 'app:v4'));
    await rolledOut(cluster, 'app');
    const { gets, otherBytes } = await cluster.registry.report();
    expect(gets.size).toBe(0);
    expect(otherBytes).toBeGreaterThan(0);
  });

  async function prepare(node: KubeNode): Promise<void> {
    await mkdir(node.disk(CERTS), { recursive: true });
    await makeTree(node.disk(CERTS), BEFORE);
    before.set(node.name, await readTree(node.disk(CERTS)));
  }

  /** Of the release: its name and namespace are given. */
  async function helm(command: string, ...args: readonly string[]): Promise<string> {
    const binary = builtHelm();
    if (typeof binary === 'string') throw new Error(binary);
    const chart = command === 'install' || command === 'upgrade' ? [CHART] : [];
    return cluster.plane.run(binary.path, [command, 'windlass', ...chart, '-n', NAMESPACE, '--timeout', '5m', ...args]);
  }

  /** The image that the nodes were given, docker.io's real address, and the taint that new nodes have. */
  function values(): string[] {
    const [repository = '', tag = ''] = agentImage.reference.split(':');
    const registries = [{ host: 'docker.io', endpoint: cluster.registry.url }];
    return [
      ...['--set', `image.repository=${repository},image.tag=${tag},startupTaint.enabled=true`],
      ...['--set-json', `config.registries=${JSON.stringify(registries)}`],
    ];
  }

  async function push(tag: string, layers: readonly string[] = [tag]): Promise<Image> {
    const busybox = which('busybox') ?? '/bin/busybox';
    const image = await buildBusyboxImage(busybox, {
      seed: tag,
      layerFiles: layers.map((name) => [{ path: `data/${name}`, bytes: seededBytes(name, 4 * MIB) }]),
    });
    await cluster.push(REPOSITORY, tag, image);
    return image;
  }
});
