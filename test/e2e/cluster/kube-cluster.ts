import { existsSync } from 'node:fs';
import { readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../support/commands.ts';
import { builtContainerd, type ContainerdBinaries, debianContainerd } from '../../support/containerd-binaries.ts';
import { eventually } from '../../support/eventually.ts';
import { buildImage, type Image } from '../../support/image.ts';
import { builtKubeApiserver } from '../../support/kube-apiserver-binary.ts';
import { builtKubernetes } from '../../support/kubernetes-binaries.ts';
import { ociArchive } from '../../support/oci-archive.ts';
import { commandsMissing, type Missing, rootMissing } from '../../support/requires.ts';
import { Scratch } from '../../support/scratch.ts';
import { LabRegistry } from '../lab/lab-registry.ts';
import { type Host, LabNetwork } from '../lab/network.ts';
import { usable } from '../lab/requirements.ts';
import { cgroupsMissing } from './cgroups.ts';
import { ControlPlane, type KubernetesBinaries } from './control-plane.ts';
import { KubeNode, makeMountPoints } from './kube-node.ts';
import { CNI_FOLDER, PAUSE_IMAGE, podNetwork } from './node-files.ts';

/** The kubelet sets these for the whole machine. */
const SYSCTLS = [
  ...['vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops'],
  ...['kernel/keys/root_maxkeys', 'kernel/keys/root_maxbytes'],
];
const READY_MS = 180_000;

/** Why there can be no cluster here; nothing: there can. For `describeWith`. */
export const clusterMissing: readonly Missing[] = [
  rootMissing(),
  commandsMissing('ip', 'bridge', 'nsenter', 'unshare', 'iptables', 'etcd', 'runc', 'docker-registry', 'openssl'),
  ...[builtKubeApiserver(), builtKubernetes(), builtContainerd(), debianContainerd()].map((built) =>
    typeof built === 'string' ? built : undefined,
  ),
  existsSync(join(CNI_FOLDER, 'bridge')) ? undefined : 'containernetworking-plugins not installed',
  cgroupsMissing,
];

/**
 * A Kubernetes cluster on one machine: the control plane, a docker-registry that plays docker.io, and nodes, each on a
 * host of lab/network.ts. Pods of one node have a bridge of their own, and reach those of others by routes.
 *
 * ```
 *   n1 ─┐
 *   n2 ─┼─ switch ─┬─ cp: etcd, API server, controllers, scheduler
 *   n3 ─┘          └─ upstream: docker-registry, http://upstream.lab:5000
 * ```
 */
export class KubeCluster {
  readonly scratch: Scratch;
  readonly network: LabNetwork;
  readonly registry: LabRegistry;
  readonly plane: ControlPlane;
  readonly #hosts: readonly Host[];
  /** The registry's. */
  readonly upstream: Host;
  readonly #binaries: KubernetesBinaries;
  readonly #pauseArchive: string;
  readonly #nodes: KubeNode[] = [];

  private constructor(
    parts: Pick<KubeCluster, 'scratch' | 'network' | 'upstream' | 'registry' | 'plane'>,
    hosts: readonly Host[],
    binaries: KubernetesBinaries,
    pauseArchive: string,
  ) {
    this.scratch = parts.scratch;
    this.network = parts.network;
    this.registry = parts.registry;
    this.plane = parts.plane;
    this.upstream = parts.upstream;
    this.#hosts = hosts;
    this.#binaries = binaries;
    this.#pauseArchive = pauseArchive;
  }

  /**
   * @param options.nodes the containerd of each, all Ready at the end.
   * @param options.mostNodes how many there can be, with those that `addNode` brings.
   * @param options.prepare their disks, before they boot.
   */
  static async start(options: {
    readonly nodes: readonly ContainerdBinaries[];
    readonly mostNodes?: number;
    readonly prepare?: (node: KubeNode) => Promise<void>;
  }): Promise<KubeCluster> {
    const { prepare } = options;
    const scratch = await Scratch.create();
    try {
      const names = Array.from({ length: options.mostNodes ?? options.nodes.length }, (_, i) => `n${i + 1}`);
      const network = await LabNetwork.create(scratch, ['cp', 'upstream', ...names]);
      const [planeHost, upstream, ...hosts] = network.hosts;
      if (planeHost === undefined || upstream === undefined) throw new Error('a lab without hosts');
      await keepSysctls(scratch);
      const made = await makeMountPoints();
      scratch.defer(async () => {
        for (const path of made) await rmdir(path).catch(() => {}); // no longer empty: others use it
      });
      const binaries = kubernetesBinaries();
      const registry = await LabRegistry.start(scratch, upstream);
      const plane = await ControlPlane.start(scratch, planeHost, binaries);
      const pauseArchive = await writePauseArchive(scratch, binaries);
      const parts = { scratch, network, upstream, registry, plane };
      const cluster = new KubeCluster(parts, hosts, binaries, pauseArchive);
      await route(planeHost, hosts, planeHost);
      // Pods ask it themselves, by their own addresses.
      await route(upstream, hosts, planeHost);
      await Promise.all(
        options.nodes.map((containerd) => cluster.addNode(containerd, prepare === undefined ? {} : { prepare })),
      );
      return cluster;
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  get nodes(): readonly KubeNode[] {
    return this.#nodes;
  }

  node(name: string): KubeNode {
    const node = this.#nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  /** Resolves when it is Ready. @param prepare its disk, before it boots */
  async addNode(
    containerd: ContainerdBinaries,
    options: { readonly taints?: string; readonly prepare?: (node: KubeNode) => Promise<void> } = {},
  ): Promise<KubeNode> {
    const number = this.#nodes.length + 1;
    const host = this.#hosts[number - 1];
    if (host === undefined) throw new Error(`this cluster can have ${this.#hosts.length} nodes`);
    const node = new KubeNode(this.scratch, this.plane, this.#binaries, {
      host,
      number,
      containerd,
      zone: number % 2 === 1 ? 'a' : 'b',
      registry: this.upstream,
      pauseArchive: this.#pauseArchive,
      ...(options.taints === undefined ? {} : { taints: options.taints }),
    });
    this.#nodes.push(node);
    const [planeHost] = this.network.hosts;
    if (planeHost !== undefined) await route(host, this.#hosts, planeHost);
    await options.prepare?.(node);
    await node.start();
    await this.ready(node);
    return node;
  }

  /** Until the API says that it is. */
  async ready(node: KubeNode): Promise<void> {
    const path = ['-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'];
    await eventually(async () => (await this.plane.tryKubectl(['get', 'node', node.name, ...path])).stdout === 'True', {
      timeoutMs: READY_MS,
      what: () => `${node.name} to be Ready; it said:\n${node.tail()}`,
    });
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.plane.kubectl(args);
  }

  async apply(...objects: readonly object[]): Promise<void> {
    await this.plane.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  }

  /** Gives all nodes' containerds an image. */
  async load(archive: string): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.load(archive)));
  }

  /** Of docker.io, for all that these nodes know. */
  async push(repository: string, tag: string, image: Image): Promise<void> {
    await this.registry.push(repository, tag, image);
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }
}

/** The containerds of three nodes: two releases, the older one on the last. */
export function mixedContainerds(): ContainerdBinaries[] {
  const [newer, older] = [usable(builtContainerd()), usable(debianContainerd())];
  if (newer === undefined || older === undefined) throw new Error('no containerd');
  return [newer, newer, older];
}

function kubernetesBinaries(): KubernetesBinaries {
  const [apiserver, others] = [builtKubeApiserver(), builtKubernetes()];
  if (typeof apiserver === 'string') throw new Error(apiserver);
  if (typeof others === 'string') throw new Error(others);
  return { apiserver: apiserver.path, folder: others.folder };
}

async function keepSysctls(scratch: Scratch): Promise<void> {
  const before = await Promise.all(
    SYSCTLS.map(async (name) => [`/proc/sys/${name}`, await readFile(`/proc/sys/${name}`, 'utf8')] as const),
  );
  scratch.defer(async () => {
    for (const [path, value] of before) await writeFile(path, value);
  });
}

async function writePauseArchive(scratch: Scratch, { folder }: KubernetesBinaries): Promise<string> {
  const pause = { path: 'pause', bytes: await readFile(join(folder, 'pause')), mode: 0o755 };
  const path = scratch.join('pause.tar');
  await writeFile(path, ociArchive(buildImage({ layerFiles: [[pause]], command: ['/pause'] }), PAUSE_IMAGE));
  return path;
}

/** From a host to the Pods of each node; all else, Services among it, goes towards the control plane. */
async function route(from: Host, hosts: readonly Host[], planeHost: Host): Promise<void> {
  const lines = hosts
    .map((host, i) => ({ host, network: podNetwork(i + 1) }))
    .filter(({ host }) => host !== from)
    .map(({ host, network }) => `route replace ${network} via ${host.address}`);
  if (from !== planeHost) lines.push(`route replace default via ${planeHost.address}`);
  await run('ip', ['-n', from.namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}
