import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { SYSTEM_PATH, which } from './commands.ts';
import { eventually } from './eventually.ts';
import type { Scratch } from './scratch.ts';

/** What is still running: ended at once should the test process itself exit without cleaning up. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Where there is setpriv: the kernel ends what we started when we are killed ourselves (PR_SET_PDEATHSIG). */
const WITH_PARENT = which('setpriv') === undefined ? [] : ['setpriv', '--pdeathsig', 'KILL', '--'];

const MAX_LINES = 50_000;

export interface DaemonOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs?: number;
  /** Called with each line of stdout and stderr. */
  readonly onLine?: (line: string) => void;
}

/** A process in the background, its output kept by lines, ended with its scratch folder. */
export class Daemon {
  readonly name: string;
  readonly lines: string[] = [];
  /** Resolves when it has ended. */
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #graceMs: number;
  #ended = false;

  constructor(scratch: Scratch, name: string, command: string, args: readonly string[], options: DaemonOptions = {}) {
    this.name = name;
    this.#graceMs = options.graceMs ?? 10_000;
    const [program = command, ...rest] = [...WITH_PARENT, command, ...args];
    this.#child = spawn(program, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: SYSTEM_PATH, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    running.add(this.#child);
    this.exited = new Promise((resolve) => {
      const end = (text: string) => {
        this.#ended = true;
        running.delete(this.#child);
        this.lines.push(`(${text})`);
        resolve();
      };
      this.#child.once('error', (error) => end(`cannot be started: ${error.message}`));
      this.#child.once('close', (code, signal) => end(`ended: ${signal ?? `exit code ${code}`}`));
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      let partial = '';
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (partial + text).split('\n');
        partial = lines.pop() ?? '';
        for (const line of lines) {
          this.lines.push(line);
          options.onLine?.(line);
        }
        if (this.lines.length > 2 * MAX_LINES) this.lines.splice(0, MAX_LINES);
      });
    }
    scratch.defer(() => this.stop());
  }

  /** Of the process, or of the one it was started under (see Containerd). @throws if it never started */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} never started: ${this.tail()}`);
    return this.#child.pid;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Its last lines. */
  tail(count = 30): string {
    return this.lines.slice(-count).join('\n');
  }

  /** Waits for a condition; fails at once, with its output, if the process ends before. */
  async ready<T>(condition: () => T | undefined | null | false | Promise<T | undefined | null | false>): Promise<T> {
    const value = await eventually<{ value: T } | 'ended'>(
      async () => {
        if (this.#ended) return 'ended';
        const held = await condition();
        return held === undefined || held === null || held === false ? undefined : { value: held };
      },
      { timeoutMs: 120_000, what: () => `${this.name} to be ready; it said:\n${this.tail()}` },
    );
    if (value === 'ended') throw new Error(`${this.name} ended before it was ready; it said:\n${this.tail()}`);
    return value.value;
  }

  /** Sends a signal and, if it is SIGKILL, waits for the end. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.#ended) return;
    this.#child.kill(signal);
    if (signal === 'SIGKILL') await this.exited;
  }

  /** SIGTERM, and SIGKILL if it has not ended within the grace. Idempotent. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#graceMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** Memory in bytes: now, and the most it ever was. */
  async memory(): Promise<{ rssBytes: number; peakRssBytes: number }> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
    return { rssBytes: kib('VmRSS'), peakRssBytes: kib('VmHWM') };
  }

  /** User and system time used so far, in seconds. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100; // Linux counts ticks of 1/100 s for user space
  }
}
