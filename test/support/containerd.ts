import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { type CommandOptions, type CommandResult, run, SYSTEM_PATH, tryCommand } from './commands.ts';
import type { ContainerdBinaries } from './containerd-binaries.ts';
import { Daemon } from './daemon.ts';
import { inNamespace } from './in-namespace.ts';
import type { Scratch } from './scratch.ts';

export interface ContainerdOptions {
  /** certs.d, for pulls by ctr (`--hosts-dir`) and by CRI. */
  readonly hostsDir: string;
  /** 2.x: layers are fetched in chunks of this size, several at a time. Undefined: off, as by default. */
  readonly fetchChunkBytes?: number;
  /** `native` copies and so runs on any file system, overlayfs included. */
  readonly snapshotter?: 'native' | 'overlayfs';
  /** CRI drops layers when it has unpacked them. */
  readonly discardUnpackedLayers?: boolean;
  /** The network namespace to run in; else ours. */
  readonly namespace?: string;
  /** Makes of the config.toml of these tests the one that it is started with. */
  readonly edit?: (toml: string) => string;
}

const PLATFORM = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;

/**
 * A containerd with its own root, state and socket, in mount and pid namespaces of its own: when its first process
 * is killed, shims, containers and mounts are gone with it. Needs root.
 */
export class Containerd {
  static #count = 0;

  readonly major: 1 | 2;
  readonly address: string;
  readonly #binaries: ContainerdBinaries;
  readonly #scratch: Scratch;
  readonly #folder: string;
  readonly #options: ContainerdOptions;
  #daemon: Daemon | undefined;
  #containers = 0;

  private constructor(scratch: Scratch, folder: string, binaries: ContainerdBinaries, options: ContainerdOptions) {
    this.#scratch = scratch;
    this.#folder = folder;
    this.#binaries = binaries;
    this.major = binaries.major;
    this.#options = options;
    this.address = `${folder}/c.sock`;
  }

  static async start(scratch: Scratch, binaries: ContainerdBinaries, options: ContainerdOptions): Promise<Containerd> {
    Containerd.#count += 1;
    const folder = scratch.join(`c${Containerd.#count}`);
    await mkdir(folder, { recursive: true });
    const toml = configToml(binaries.major, folder, options);
    await writeFile(`${folder}/config.toml`, options.edit?.(toml) ?? toml);
    const containerd = new Containerd(scratch, folder, binaries, options);
    await containerd.start();
    return containerd;
  }

  /** Starts it again, after `stop` or `kill`, with what it holds. */
  async start(): Promise<void> {
    if (this.#daemon?.ended === false) throw new Error('containerd is running');
    // The shell reaps what is orphaned in the namespace. --kill-child: the end of unshare is the end of everything.
    const script = '"$0" "$@" & while :; do wait; sleep 1; kill -0 $! 2>/dev/null || exit 1; done';
    const { containerd, ctr, folder } = this.#binaries;
    const daemon = new Daemon(
      this.#scratch,
      `containerd ${this.major}`,
      ...inNamespace(this.#options.namespace, 'unshare', [
        ...['--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'],
        ...['sh', '-c', script, containerd, '--config', `${this.#folder}/config.toml`],
      ]),
      { env: { PATH: `${folder}:${SYSTEM_PATH}`, HTTP_PROXY: '', HTTPS_PROXY: '' }, graceMs: 0 },
    );
    this.#daemon = daemon;
    await daemon.ready(async () => (await tryCommand(ctr, ['--address', this.address, 'version'])).code === 0);
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('containerd was never started');
    return this.#daemon;
  }

  /** Of its content store. */
  get contentDir(): string {
    return `${this.#folder}/root/io.containerd.content.v1.content`;
  }

  get configFile(): string {
    return `${this.#folder}/config.toml`;
  }

  get snapshotter(): string {
    return this.#options.snapshotter ?? 'native';
  }

  /** Runs `ctr` against it, in namespace k8s.io. Rejects unless it succeeds. */
  ctr(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return run(...this.ctrCommand(args), options);
  }

  /** Pulls and unpacks. @param options.user `name:password` for the registry. */
  pull(reference: string, options: CommandOptions & { readonly user?: string } = {}): Promise<CommandResult> {
    const { user, ...rest } = options;
    const login = user === undefined ? [] : ['--user', user];
    const hosts = ['--hosts-dir', this.#options.hostsDir];
    return this.ctr(['images', 'pull', ...login, ...hosts, '--snapshotter', this.snapshotter, reference], rest);
  }

  /** Pulls and unpacks; resolves whether it succeeds or not. */
  tryPull(reference: string, options: CommandOptions = {}): Promise<CommandResult> {
    const args = [
      'images',
      'pull',
      '--hosts-dir',
      this.#options.hostsDir,
      '--snapshotter',
      this.snapshotter,
      reference,
    ];
    return tryCommand(...this.ctrCommand(args), options);
  }

  /** `ctr` against it, as a command; in the network namespace as well: of 1.6 it is ctr that pulls. */
  ctrCommand(args: readonly string[]): [command: string, args: readonly string[]] {
    const all = ['--address', this.address, '--namespace', 'k8s.io', ...args];
    return inNamespace(this.#options.namespace, this.#binaries.ctr, all);
  }

  /** Runs a command in a new container of a pulled image, to its end. @returns its stdout */
  async runContainer(reference: string, command: readonly string[]): Promise<string> {
    this.#containers += 1;
    const id = `t${this.#containers}`;
    const result = await this.ctr(['run', '--rm', '--snapshotter', this.snapshotter, reference, id, ...command]);
    return result.stdout;
  }

  /** Removes all images, and waits until their contents are gone. */
  async removeImages(): Promise<void> {
    const { stdout } = await this.ctr(['images', 'ls', '--quiet']);
    const names = stdout.split('\n').filter((name) => name !== '');
    if (names.length > 0) await this.ctr(['images', 'rm', '--sync', ...names]);
    const left = await this.contentDigests();
    if (left.length > 0) throw new Error(`containerd keeps ${left.join(' ')}`);
  }

  /** What its content store holds. */
  async contentDigests(): Promise<string[]> {
    const { stdout } = await this.ctr(['content', 'ls', '--quiet']);
    return stdout.split('\n').filter((digest) => digest !== '');
  }

  /** CPU time in seconds of containerd itself. */
  async cpuSeconds(): Promise<number> {
    const shell = await onlyChild(this.daemon.pid);
    const stat = await readFile(`/proc/${await onlyChild(shell)}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async stop(): Promise<void> {
    await this.daemon.stop();
  }
}

async function onlyChild(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ');
  return Number(children[0]);
}

function configToml(major: 1 | 2, folder: string, options: ContainerdOptions): string {
  const snapshotter = options.snapshotter ?? 'native';
  const discard = options.discardUnpackedLayers === true;
  const shared = `
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${folder}/c.sock"
[ttrpc]
  address = "${folder}/c.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
`;
  // restrict_oom_score_adj: a container in a container may not have CAP_SYS_RESOURCE.
  if (major === 1) {
    return `version = 2
${shared}
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${snapshotter}"
    discard_unpacked_layers = ${discard}
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${options.hostsDir}"
`;
  }
  return `version = 3
${shared}
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    conf_dir = "${folder}/cni"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "${snapshotter}"
  discard_unpacked_layers = ${discard}
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "${options.hostsDir}"
[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 3
  concurrent_layer_fetch_buffer = ${options.fetchChunkBytes ?? 0}
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "${PLATFORM}"
    snapshotter = "${snapshotter}"
`;
}
