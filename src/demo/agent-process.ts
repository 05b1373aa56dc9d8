import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { AgentStatus } from '../status/agent-status.ts';

const START_MS = 60_000;
const ANSWER_MS = 2_000;
const KEPT_LINES = 20;

export interface AgentProcessOptions {
  /** The node's name. */
  readonly name: string;
  /** The script whose command `agent` is run. */
  readonly entry: string;
  readonly mirrorPort: number;
  readonly statusPort: number;
  /** Settings as flags. */
  readonly flags: readonly string[];
  readonly onLine: (line: string) => void;
}

/** A real agent in a process of its own, so that it can be killed like one. */
export class AgentProcess {
  readonly name: string;
  readonly mirrorUrl: string;
  readonly statusUrl: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #killAtExit = (): void => void this.#child.kill('SIGKILL');
  #lastLines: string[] = [];
  #isGone = false;

  private constructor(options: AgentProcessOptions) {
    this.name = options.name;
    this.mirrorUrl = `http://127.0.0.1:${options.mirrorPort}`;
    this.statusUrl = `http://127.0.0.1:${options.statusPort}`;
    // In a session of its own, so that Ctrl-C is ours; with a channel, by which it sees that we are gone.
    this.#child = spawn(process.execPath, [...process.execArgv, options.entry, 'agent', ...options.flags], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: environment(),
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      onLines(stream, (line) => {
        this.#lastLines = [...this.#lastLines, line].slice(-KEPT_LINES);
        options.onLine(line);
      });
    }
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', resolve).once('close', resolve);
    });
    this.#exited.then(() => {
      this.#isGone = true;
    });
    process.once('exit', this.#killAtExit);
  }

  /** Resolves when it serves. Rejects with its last words, or the signal's reason; nothing is left then. */
  static async start(options: AgentProcessOptions, signal: AbortSignal): Promise<AgentProcess> {
    const agent = new AgentProcess(options);
    try {
      await agent.#untilReady(AbortSignal.any([signal, AbortSignal.timeout(START_MS)]));
      return agent;
    } catch (error) {
      await agent.kill();
      throw error;
    }
  }

  get isAlive(): boolean {
    return !this.#isGone;
  }

  /** What it says of itself; undefined where it does not answer. */
  async status(signal?: AbortSignal): Promise<AgentStatus | undefined> {
    if (this.#isGone) return undefined;
    const bound = AbortSignal.timeout(ANSWER_MS);
    try {
      const response = await request(`${this.statusUrl}/status`, {
        signal: signal === undefined ? bound : AbortSignal.any([signal, bound]),
      });
      return (await response.body.json()) as AgentStatus;
    } catch {
      return undefined;
    }
  }

  /** With -9, as when a machine fails. Resolves when the process is gone; idempotent. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
    process.off('exit', this.#killAtExit);
  }

  async #untilReady(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#isGone) throw new Error(`${this.name} did not start: ${this.#lastLines.join('\n')}`);
      if ((await this.status(signal))?.ready === true) return;
      await Promise.race([sleep(25, undefined, { signal }), this.#exited]);
    }
  }
}

/** Neither settings nor proxies of this machine: everything here is on loopback. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^WINDLASS_|^(?:https?|no|all)_proxy$/i.test(name)),
  );
}

function onLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}
