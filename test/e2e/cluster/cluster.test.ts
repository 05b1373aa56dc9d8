import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { which } from '../../support/commands.ts';
import { eventually } from '../../support/eventually.ts';
import { type FileTree, makeTree, readTree } from '../../support/file-tree.ts';
import { builtHelm, HELM_MAJORS, type HelmMajor } from '../../support/helm-binary.ts';
import { buildBusyboxImage, type Image, seededBytes } from '../../support/image.ts';
import { prometheusOperatorCrds } from '../../support/prometheus-operator-crds.ts';
import { describeWith } from '../../support/requires.ts';
import { buildWindlassImage, type WindlassImage, windlassImageMissing } from '../../support/windlass-image.ts';
import { expectOnce } from '../lab/expect-once.ts';
import { clusterMissing, KubeCluster, mixedContainerds } from './kube-cluster.ts';
import type { KubeNode } from './kube-node.ts';
import { commandsAfter, commandsOf } from './readme.ts';
import { daemonSet, failedPulls, pod, rolledOut, runsOn } from './workload.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const CERTS = '/etc/containerd/certs.d';
const NAMESPACE = 'windlass';
const TAINT = 'windlass.dev/agent-not-ready';
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

const needed = [...HELM_MAJORS.map((major) => builtHelm(major)), prometheusOperatorCrds()].map((built) =>
  typeof built === 'string' ? built : undefined,
);
const missing = [...clusterMissing, ...needed, await windlassImageMissing()];

// One after the other: each goes on where the one before ended.
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

  it('is installed by the commands of the README: an agent on each node, and its mirror is asked', async () => {
    for (const block of commandsOf('### Install')) await type(block);
    for (const block of commandsOf('### Does containerd ask it?'))
      expect(await type(block)).not.toContain('configuration:');
    await push('7', [], 'library/redis');
    const [look = '', tryIt = '', monitor = ''] = commandsOf('### See that it works');
    expect(await type(look)).toContain('n1');
    expect(await type(tryIt)).toMatch(/^windlass_peers(?:\{.*\})? 2$/m);
    expect((await cluster.registry.report()).otherBytes).toBe(0);
    await cluster.plane.kubectl(['apply', '--server-side', '-f', '-'], await operatorCrds());
    await type(monitor);
    expect(
      await cluster.kubectl('-n', NAMESPACE, 'get', 'servicemonitors,prometheusrules,configmaps', '-o', 'name'),
    ).toMatch(/servicemonitor.*\n.*prometheusrule.*\n[\s\S]*dashboard/);
  });

  it('windlass doctor as a Pod, as the README has it: nothing is wrong; and it names a mirror that is put before ours', async () => {
    const [look = '', doctor = ''] = commandsOf('## Troubleshooting');
    expect(await type(look)).toContain('n1');
    expect(await type(doctor)).toMatch(/windlass doctor: n1[\s\S]*Nothing is wrong: pulls go through the mirror\./);
    const file = `${cluster.node('n1').disk(CERTS)}/docker.io/hosts.toml`;
    const ours = await readFile(file, 'utf8');
    await writeFile(file, ours.replace('[host.', '[host."http://other.lab"]\n[host.'));
    await expect(type(doctor)).rejects.toThrow(/exit code 3\n[\s\S]*http:\/\/other\.lab stands before the mirror/);
    await writeFile(file, ours);
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
    await cluster.network.limit(cluster.upstream, { up: 40 });
    const image = await push('v3', ['3a', '3b', '3c', '3d', '3e']);
    const victim = cluster.node('n2');
    await cluster.apply(daemonSet('app', 'app:v3'));
    await eventually(async () => (await cluster.registry.report()).gets.size > 2, { timeoutMs: 120_000 });
    await victim.kill();
    await runsOn(cluster, 'app', ['n1', 'n3'], 'app:v3');
    await cluster.network.limit(cluster.upstream, {});
    const { gets } = await cluster.registry.report();
    // It may have been the writer of some; its death costs those one more request each, by Range.
    for (const { digest } of image.blobs) expect(gets.get(digest)).toBeLessThanOrEqual(2);
    await victim.start();
    await cluster.ready(victim);
    await runsOn(cluster, 'app', ['n1', 'n2', 'n3'], 'app:v3');
  });

  it('a new node, upstream away: it takes Pods when its mirror serves, and has their image from its peers', async () => {
    await cluster.network.cut(cluster.upstream);
    const [containerd] = mixedContainerds();
    if (containerd === undefined) throw new Error('no containerd');
    const node = await cluster.addNode(containerd, { taints: `${TAINT}=:NoSchedule`, prepare });
    await node.load(agentImage.archive);
    await runsOn(cluster, 'app', ['n4'], 'app:v3');
    expect(await cluster.kubectl('get', 'node', 'n4', '-o', 'jsonpath={.spec.taints}')).not.toContain(TAINT);
    await cluster.network.mend(cluster.upstream);
  });

  it('turned off, on, and rolled back while Pods are made all the time: no pull fails', async () => {
    await push('busy');
    let made = 0;
    const stop = new AbortController();
    const making = (async () => {
      while (!stop.signal.aborted) {
        made += 1;
        const [name, node] = [`busy-${made}`, `n${1 + (made % 4)}`];
        await cluster.apply(pod(name, 'app:busy', node));
        await runsOn(cluster, name, [node], 'app:busy');
        await cluster.kubectl('delete', 'pod', name, '--wait=false');
      }
    })();
    const [off = '', on = ''] = commandsAfter('**Turned off without uninstalling**')
      .trim()
      .split(/\n(?=helm)/);
    await type(off);
    await rolledOut(cluster, 'windlass', NAMESPACE);
    for (const node of cluster.nodes) expect(await readTree(node.disk(CERTS))).toEqual(before.get(node.name));
    await type(on);
    await rolledOut(cluster, 'windlass', NAMESPACE);
    await type('helm rollback windlass --namespace windlass --wait');
    await rolledOut(cluster, 'windlass', NAMESPACE);
    stop.abort();
    await making;
    expect(made).toBeGreaterThan(4);
    expect(await failedPulls(cluster)).toEqual([]);
  });

  it('is uninstalled by the commands of the README: every node as it was, byte for byte; pulls go on upstream', async () => {
    await uninstall();
    await push('v4');
    await cluster.apply(daemonSet('app', 'app:v4'));
    await rolledOut(cluster, 'app');
    const { gets, otherBytes } = await cluster.registry.report();
    expect(gets.size).toBe(0);
    expect(otherBytes).toBeGreaterThan(0);
  });

  it('by Helm 4, and on the network of the Pods: installed, asked, upstream gives once, and every node is as it was', async () => {
    const [install = ''] = commandsOf('### Install');
    await type(install.replace('--wait', '--wait --set hostNetwork=false'), 4);
    // Its --wait is for all Pods: nothing else is to be waited for.
    for (const node of cluster.nodes) expect(await readTree(node.disk(CERTS))).not.toEqual(before.get(node.name));
    const image = await push('v5');
    await cluster.apply(daemonSet('app', 'app:v5'));
    await rolledOut(cluster, 'app');
    expectOnce(await cluster.registry.report(), [image], 'v5');
    await uninstall(4);
  });

  async function uninstall(major?: HelmMajor): Promise<void> {
    const [commands = ''] = commandsOf('## Uninstall');
    const [helm = '', ...others] = commands.trim().split('\n');
    await type(helm, major);
    for (const node of cluster.nodes) expect(await readTree(node.disk(CERTS))).toEqual(before.get(node.name));
    await eventually(async () => (await leftBehind()).length === 0, {
      timeoutMs: 120_000,
      everyMs: 500,
      what: 'the release to be gone',
    });
    await type(others.join('\n'));
  }

  async function operatorCrds(): Promise<string> {
    const crds = prometheusOperatorCrds();
    if (typeof crds === 'string') throw new Error(crds);
    return (await crds()).join('\n---\n');
  }

  /** What the release made, and is still there; Pods take their time to end. */
  async function leftBehind(): Promise<string[]> {
    const namespaced = 'roles,rolebindings,serviceaccounts,networkpolicies';
    const kinds = `all,configmaps,secrets,${namespaced},servicemonitors,prometheusrules`;
    const own = await cluster.kubectl('-n', NAMESPACE, 'get', kinds, '-o', 'name');
    const policies = 'validatingadmissionpolicies,validatingadmissionpolicybindings';
    const all = await cluster.kubectl('get', `clusterroles,clusterrolebindings,${policies}`, '-o', 'name');
    const names = [...own.split('\n'), ...all.split('\n').filter((name) => name.includes('windlass'))];
    return names.filter((name) => name !== '' && !/\/(?:default|kube-root-ca\.crt)$/.test(name));
  }

  async function prepare(node: KubeNode): Promise<void> {
    await mkdir(node.disk(CERTS), { recursive: true });
    await makeTree(node.disk(CERTS), BEFORE);
    before.set(node.name, await readTree(node.disk(CERTS)));
  }

  /**
   * A block of commands, as an administrator types it on the control plane's host. Of what the README says only the
   * image's name differs, for nodes were given that image; and what the lab wants: docker.io at another address, the
   * taint of new nodes, two agents replaced at a time.
   * @returns what it said
   */
  async function type(block: string, major?: HelmMajor): Promise<string> {
    const binary = builtHelm(major);
    if (typeof binary === 'string') throw new Error(binary);
    const [repository = '', tag = ''] = agentImage.reference.split(':');
    const registries = JSON.stringify([{ host: 'docker.io', endpoint: cluster.registry.url }]);
    const own = [
      `image.tag=${tag}`,
      '--set startupTaint.enabled=true,updateStrategy.rollingUpdate.maxUnavailable=2',
      `--set-json 'config.registries=${registries}'`,
    ].join(' ');
    const script = block
      .replaceAll('registry.example.com/windlass:0.1.0', agentImage.reference)
      .replace('registry.example.com/windlass', repository)
      .replace('image.tag=0.1.0', own);
    return cluster.plane.shell(script, { cwd: ROOT, commands: { helm: binary.path } });
  }

  async function push(tag: string, layers: readonly string[] = [tag], repository = 'library/app'): Promise<Image> {
    const busybox = which('busybox') ?? '/bin/busybox';
    const image = await buildBusyboxImage(busybox, {
      seed: tag,
      command: ['/bin/busybox', 'sleep', '100000'],
      layerFiles: layers.map((name) => [{ path: `data/${name}`, bytes: seededBytes(name, 4 * MIB) }]),
    });
    await cluster.push(repository, tag, image);
    return image;
  }
});
