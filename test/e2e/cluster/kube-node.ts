import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, SYSTEM_PATH, tryCommand } from '../../support/commands.ts';
import type { ContainerdBinaries } from '../../support/containerd-binaries.ts';
import { Daemon } from '../../support/daemon.ts';
import { eventually } from '../../support/eventually.ts';
import type { Scratch } from '../../support/scratch.ts';
import type { Host } from '../lab/network.ts';
import { makeCgroup, removeCgroup } from './cgroups.ts';
import type { ControlPlane, KubernetesBinaries } from './control-plane.ts';
import { CNI_FOLDER, containerdConfig, networkConfig, PAUSE_IMAGE } from './node-files.ts';

/** Of the machine's folders each node has its own. */
const OWN_FOLDERS = [
  ...['/var/lib/containerd', '/var/lib/kubelet', '/var/lib/cni', '/var/lib/windlass', '/var/log'],
  ...['/etc/containerd', '/etc/cni', '/opt/cni'],
];

export interface KubeNodeOptions {
  readonly host: Host;
  /** From 1 on: of its Pods' network. */
  readonly number: number;
  readonly containerd: ContainerdBinaries;
  readonly zone: string;
  /** The registry's host and address, which it knows by /etc/hosts. */
  readonly registry: Host;
  readonly pauseArchive: string;
  /** `key=value:effect`, from its registration on. */
  readonly taints?: string;
}

/**
 * A node: containerd, kubelet and kube-proxy in network, mount, pid, uts and ipc namespaces of their own, each started
 * again when it ends. The node's pid 1 is a shell: SIGKILL to it is a power cut. Its disk outlives it.
 */
export class KubeNode {
  readonly name: string;
  readonly containerd: ContainerdBinaries;
  readonly #scratch: Scratch;
  readonly #plane: ControlPlane;
  readonly #binaries: KubernetesBinaries;
  readonly #options: KubeNodeOptions;
  #daemon: Daemon | undefined;

  constructor(scratch: Scratch, plane: ControlPlane, binaries: KubernetesBinaries, options: KubeNodeOptions) {
    this.name = options.host.name;
    this.containerd = options.containerd;
    this.#scratch = scratch;
    this.#plane = plane;
    this.#binaries = binaries;
    this.#options = options;
  }

  get host(): Host {
    return this.#options.host;
  }

  /** Where a path of the node's own folders (`/etc/containerd/certs.d`) lies for the test. */
  disk(path: string): string {
    return join(this.#folder, 'root', path);
  }

  /** Boots it. Resolves at once; the API says when it is Ready. */
  async start(): Promise<void> {
    await makeCgroup(this.#cgroup);
    this.#scratch.defer(() => removeCgroup(this.#cgroup));
    for (const path of OWN_FOLDERS) await mkdir(this.disk(path), { recursive: true });
    await this.#writeFiles();
    const unshare = ['--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
    // Not `ip netns exec`: that mounts a /sys without cgroups.
    this.#daemon = new Daemon(
      this.#scratch,
      `node ${this.name}`,
      'nsenter',
      [`--net=/run/netns/${this.host.namespace}`, 'unshare', ...unshare, 'bash', join(this.#folder, 'init.sh')],
      { env: { HTTP_PROXY: '', HTTPS_PROXY: '' }, graceMs: 0 },
    );
  }

  /** A power cut. */
  async kill(): Promise<void> {
    await this.#daemon?.kill('SIGKILL');
    await removeCgroup(this.#cgroup);
  }

  /** What it said, for a failing test. */
  tail(): string {
    return this.#daemon?.tail(50) ?? 'never started';
  }

  /** A command inside of it. @returns stdout */
  async run(command: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run('nsenter', await this.#inside(command, args));
    return stdout;
  }

  async tryRun(command: string, args: readonly string[]): ReturnType<typeof tryCommand> {
    return tryCommand('nsenter', await this.#inside(command, args));
  }

  /** Gives its containerd an image from an archive, once containerd answers. */
  async load(archive: string): Promise<void> {
    const ctr = [this.containerd.ctr, '-n', 'k8s.io'] as const;
    await eventually(async () => (await this.tryRun(ctr[0], ['version'])).code === 0, { timeoutMs: 120_000 });
    await this.run(ctr[0], [...ctr.slice(1), 'images', 'import', archive]);
  }

  async #inside(command: string, args: readonly string[]): Promise<string[]> {
    return ['-t', String(await this.#pid()), '-m', '-n', '-p', '-u', '-i', '--', command, ...args];
  }

  /** Of the shell that is its pid 1: what `unshare` forked. */
  async #pid(): Promise<number> {
    const parent = this.#daemon?.pid;
    return eventually(async () => {
      const children = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8');
      return Number(children.split(' ')[0]) || undefined;
    });
  }

  get #folder(): string {
    return this.#scratch.join(this.name);
  }

  get #cgroup(): string {
    return this.host.namespace;
  }

  async #writeFiles(): Promise<void> {
    const { host, number, containerd, registry } = this.#options;
    const files: Record<string, string> = {
      hosts: `127.0.0.1 localhost ${host.name}\n${registry.address} upstream.lab\n`,
      // No DNS: nothing here may need it.
      'resolv.conf': `nameserver 127.0.0.1\n`,
      kubeconfig: this.#plane.kubeconfigFor(host.name),
      'proxy.kubeconfig': this.#plane.kubeconfigFor('kube-proxy'),
      'network.conflist': networkConfig(number),
      'containerd.toml': containerdConfig(containerd.major),
      'kubelet.yaml': JSON.stringify({
        apiVersion: 'kubelet.config.k8s.io/v1beta1',
        kind: 'KubeletConfiguration',
        failSwapOn: false,
        failCgroupV1: false,
        cgroupDriver: 'cgroupfs',
        cgroupRoot: `/${this.#cgroup}`,
        containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
        authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
        authorization: { mode: 'AlwaysAllow' },
        resolvConf: join(this.#folder, 'resolv.conf'),
        serializeImagePulls: false,
        nodeStatusUpdateFrequency: '4s',
        evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
        imageGCHighThresholdPercent: 99,
      }),
      'proxy.yaml': JSON.stringify({
        apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
        kind: 'KubeProxyConfiguration',
        mode: 'iptables',
        clusterCIDR: '10.244.0.0/16',
        clientConnection: { kubeconfig: join(this.#folder, 'proxy.kubeconfig') },
        hostnameOverride: host.name,
        conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
      }),
      'init.sh': this.#init(),
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(this.#folder, name), text);
  }

  #init(): string {
    const { host, containerd, zone, pauseArchive, taints } = this.#options;
    const path = [containerd.folder, this.#binaries.folder, CNI_FOLDER, SYSTEM_PATH].join(':');
    const folder = this.#folder;
    const ctr = `${containerd.ctr} -n k8s.io`;
    return `set -u
export PATH=${path}
hostname ${host.name}
# /sys of this network namespace, with the cgroups of before. Shared only then: else their unmounting would be, too.
mkdir -p ${folder}/cgroup
mount --rbind /sys/fs/cgroup ${folder}/cgroup
mount -t sysfs sysfs /sys
mount --rbind ${folder}/cgroup /sys/fs/cgroup
umount -l ${folder}/cgroup
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
for own in ${OWN_FOLDERS.join(' ')}; do mount --bind ${folder}/root$own $own; done
mkdir -p /opt/cni/bin /etc/cni/net.d
mount --bind ${CNI_FOLDER} /opt/cni/bin
mount --bind ${folder}/hosts /etc/hosts
mount --bind ${folder}/resolv.conf /etc/resolv.conf
cp ${folder}/network.conflist /etc/cni/net.d/10-lab.conflist
[ -e /etc/containerd/config.toml ] || cp ${folder}/containerd.toml /etc/containerd/config.toml
sysctl -qw net.ipv4.ip_forward=1
supervise() {
  name=$1
  shift
  while :; do
    "$@" >>/var/log/$name.log 2>&1 </dev/null &
    echo $! >/run/$name.pid
    wait $!
    echo "$name ended: again in 1 s" >>/var/log/$name.log
    sleep 1
  done
}
supervise containerd ${containerd.containerd} --config /etc/containerd/config.toml &
until ${ctr} version >/dev/null 2>&1; do sleep 0.1; done
${ctr} images ls -q | grep -q ${PAUSE_IMAGE} || ${ctr} images import ${pauseArchive} >/dev/null
supervise kubelet kubelet --config=${folder}/kubelet.yaml --kubeconfig=${folder}/kubeconfig \\
  --hostname-override=${host.name} --node-ip=${host.address} --node-labels=topology.kubernetes.io/zone=${zone} \\
  ${taints === undefined ? '' : `--register-with-taints=${taints}`} --v=2 &
supervise kube-proxy kube-proxy --config=${folder}/proxy.yaml &
while :; do wait -n || sleep 1; done
`;
  }
}

/** What nodes mount their own folders over. @returns the ones that were made */
export async function makeMountPoints(): Promise<string[]> {
  const made: string[] = [];
  for (const path of OWN_FOLDERS) {
    const first = await mkdir(path, { recursive: true });
    if (first !== undefined) made.push(first);
  }
  return made;
}
