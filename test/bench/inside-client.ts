import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Host } from '../e2e/lab/network.ts';
import type { PullOptions, PullReport } from '../e2e/lab/pull.ts';
import { inNamespace } from '../support/in-namespace.ts';
import type { Scratch } from '../support/scratch.ts';

const CHILD = fileURLToPath(new URL('./inside-child.ts', import.meta.url));

/** The plain client as a process inside of a node, so that its bytes pass the node's link; started ahead of its pulls. */
export class InsideClient {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;

  constructor(scratch: Scratch, host: Host) {
    const [command, args] = inNamespace(host.namespace, process.execPath, [CHILD]);
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout });
    scratch.defer(() => this.#child.kill('SIGKILL'));
  }

  /** One at a time. */
  async pull(options: PullOptions): Promise<PullReport> {
    const answer = new Promise<string>((resolve) => this.#lines.once('line', resolve));
    this.#child.stdin.write(`${JSON.stringify(options)}\n`);
    const report: PullReport | { error: string } = JSON.parse(await answer);
    if ('error' in report) throw new Error(report.error);
    return report;
  }
}
