import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
/** A Unix socket's path has to fit into 108 bytes. */
const MAX_SOCKET_PATH = 100;
/** None of these is needed for a pull, and each would touch the machine outside of our folder, or fail here. */
const DISABLED_PLUGINS = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
  'io.containerd.internal.v1.opt',
  'io.containerd.nri.v1.nri',
  'io.containerd.internal.v1.tracing',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.overlayfs',
  'io.containerd.snapshotter.v1.zfs',
];

export interface ContainerdPullOptions {
  /** For its root, state, socket and settings; must exist. */
  readonly directory: string;
  readonly registryHost: string;
  /** Where that registry really is: containerd's last resort, as in any hosts.toml. */
  readonly registryUrl: string;
  readonly mirrorUrl: string;
  /** `registry.example/windlass/demo:1` */
  readonly image: string;
}

export type ContainerdReport =
  | { readonly outcome: 'pulled'; readonly version: string; readonly unpacked: boolean; readonly timeMs: number }
  | { readonly outcome: 'failed'; readonly version: string; readonly error: string }
  /** There is none, or it does not run here: `reason` ends the sentence "skipped: ". */
  | { readonly outcome: 'skipped'; readonly reason: string };

/** Pulls the image with a real containerd of our own, which leaves the machine's own one alone. */
export async function pullWithContainerd(
  options: ContainerdPullOptions,
  signal: AbortSignal,
): Promise<ContainerdReport> {
  if (process.getuid?.() !== 0) return { outcome: 'skipped', reason: 'it needs root' };
  const [containerd, ctr, unshare] = await Promise.all(['containerd', 'ctr', 'unshare'].map(findProgram));
  if (containerd === undefined || ctr === undefined) return { outcome: 'skipped', reason: 'it is not installed' };
  const socket = path.join(options.directory, 'c.sock');
  if (socket.length > MAX_SOCKET_PATH) return { outcome: 'skipped', reason: `${socket} is too long for a socket` };
  const config = await writeSettings(options, socket);
  // In a mount namespace of its own, so that no mount outlives it; in a session of its own, so that Ctrl-C is ours.
  const inNamespace = unshare === undefined ? [] : [unshare, '--mount', '--propagation', 'private', '--'];
  const [program = containerd, ...args] = [...inNamespace, containerd, '--config', config];
  const daemon = spawn(program, args, { detached: true, stdio: 'ignore' });
  const killAtExit = (): void => void daemon.kill('SIGKILL');
  process.once('exit', killAtExit);
  try {
    const run = (...command: string[]) => execute(ctr, ['--address', socket, ...command], { signal });
    const version = await untilItAnswers(daemon, run, signal);
    if (version === undefined) return { outcome: 'skipped', reason: 'it did not start here' };
    return await pull(run, options, version, signal);
  } finally {
    await stop(daemon);
    process.off('exit', killAtExit);
  }
}

type Run = (...command: string[]) => Promise<{ stdout: string }>;

async function pull(
  run: Run,
  { directory, image }: ContainerdPullOptions,
  version: string,
  signal: AbortSignal,
): Promise<ContainerdReport> {
  const startedMs = performance.now();
  const report = (unpacked: boolean): ContainerdReport => {
    return { outcome: 'pulled', version, unpacked, timeMs: performance.now() - startedMs };
  };
  const hosts = ['--hosts-dir', path.join(directory, 'hosts')];
  try {
    // From 2.0 on ctr leaves the work to the daemon, whose transfer service unpacks with its default snapshotter alone.
    const locally = version.startsWith('1.') ? [] : ['--local'];
    await run('images', 'pull', ...hosts, ...locally, '--snapshotter', 'native', image);
    return report(true);
  } catch {
    signal.throwIfAborted();
  }
  // Unpacking needs mounts, which not every root may make; the pull itself doesn't.
  try {
    await run('content', 'fetch', ...hosts, image);
    return report(false);
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: 'failed', version, error: lastLine(error) };
  }
}

async function writeSettings(options: ContainerdPullOptions, socket: string): Promise<string> {
  const { directory, registryHost, registryUrl, mirrorUrl } = options;
  const hosts = path.join(directory, 'hosts', registryHost);
  await mkdir(hosts, { recursive: true });
  await writeFile(
    path.join(hosts, 'hosts.toml'),
    `server = "${registryUrl}"\n\n[host."${mirrorUrl}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  const file = path.join(directory, 'config.toml');
  const text = (value: unknown): string => JSON.stringify(value);
  await writeFile(
    file,
    [
      'version = 2',
      ...['root', 'state', 'temp'].map((name) => `${name} = ${text(path.join(directory, name))}`),
      `disabled_plugins = ${text(DISABLED_PLUGINS)}`,
      `[grpc]\n  address = ${text(socket)}`,
      `[ttrpc]\n  address = ${text(`${socket}.t`)}\n`,
    ].join('\n'),
  );
  return file;
}

/** @returns the server's version; undefined if it went away, or kept silent. */
async function untilItAnswers(daemon: ChildProcess, run: Run, signal: AbortSignal): Promise<string | undefined> {
  let isGone = false;
  daemon.once('error', () => {
    isGone = true;
  });
  const untilMs = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < untilMs && !isGone && daemon.exitCode === null && daemon.signalCode === null) {
    try {
      const { stdout } = await run('version');
      const [, version] = /Server:[\s\S]*?Version:\s*v?(\S+)/.exec(stdout) ?? [];
      if (version !== undefined) return version;
    } catch {
      signal.throwIfAborted();
    }
    await sleep(50, undefined, { signal });
  }
  return undefined;
}

async function stop(daemon: ChildProcess): Promise<void> {
  if (daemon.pid === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
  const exited = once(daemon, 'exit');
  daemon.kill('SIGTERM');
  const timer = setTimeout(() => daemon.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

async function findProgram(name: string): Promise<string | undefined> {
  for (const directory of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(directory, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

function lastLine(error: unknown): string {
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  return stderr.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}
