import { type CommandResult, run } from './commands.ts';
import type { Containerd } from './containerd.ts';
import { Daemon } from './daemon.ts';
import type { Scratch } from './scratch.ts';

/** All that `ctr run` would leave it. */
const CAPABILITIES = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE', 'NET_RAW'],
  ...['SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
].map((name) => `CAP_${name}`);

export interface ContainerOptions {
  readonly image: string;
  /** Else the image's own: its entry point with its arguments. */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Path in the container → path here. */
  readonly mounts?: Readonly<Record<string, string>>;
}

/**
 * A container as a careful cluster runs it: the image's own user, root file system read-only, no capabilities, no new
 * privileges; in our network namespace.
 */
export class HardenedContainer {
  static #count = 0;

  readonly daemon: Daemon;
  readonly #containerd: Containerd;
  readonly #id: string;
  #execs = 0;

  private constructor(containerd: Containerd, id: string, daemon: Daemon) {
    this.#containerd = containerd;
    this.#id = id;
    this.daemon = daemon;
  }

  /** Starts it, and waits for nothing. */
  static start(scratch: Scratch, containerd: Containerd, options: ContainerOptions): HardenedContainer {
    HardenedContainer.#count += 1;
    const id = `hardened-${HardenedContainer.#count}`;
    const { image, command = [], env = {}, mounts = {} } = options;
    const flags = [
      ...['--rm', '--read-only', '--net-host', '--snapshotter', containerd.snapshotter],
      ...CAPABILITIES.flatMap((name) => ['--cap-drop', name]),
      ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      ...Object.entries(mounts).flatMap(([to, from]) => [
        '--mount',
        `type=bind,src=${from},dst=${to},options=rbind:rw`,
      ]),
    ];
    const ctr = containerd.ctrCommand(['run', ...flags, image, id, ...command]);
    return new HardenedContainer(containerd, id, new Daemon(scratch, id, ...ctr, { graceMs: 60_000 }));
  }

  /** Its first process alone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await run(...this.#containerd.ctrCommand(['tasks', 'kill', '--signal', signal, this.#id]));
  }

  /** Its exit code, once it has ended. */
  async exitCode(): Promise<number> {
    await this.daemon.exited;
    const code = /^\(ended: exit code (\d+)\)$/.exec(this.daemon.lines.at(-1) ?? '')?.[1];
    if (code === undefined) throw new Error(`${this.daemon.name}: ${this.daemon.tail()}`);
    return Number(code);
  }

  /** Runs another command in it, to its end, as the same user. */
  async exec(command: readonly string[]): Promise<CommandResult> {
    this.#execs += 1;
    const args = ['tasks', 'exec', '--exec-id', `exec-${this.#execs}`, this.#id, ...command];
    return run(...this.#containerd.ctrCommand(args));
  }
}
