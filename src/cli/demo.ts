import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Demo, IMAGE_NAME } from '../demo/demo.ts';
import { renderKept, renderNext, renderResult } from '../demo/report.ts';
import { type Terminal, terminalOf } from '../demo/terminal.ts';
import { type DemoView, LiveView, PlainView, SILENT_VIEW } from '../demo/view.ts';
import { StopSignals } from './stop-signals.ts';

/** Whatever hangs, the demo doesn't. Unhindered it takes 12 s, with 16 agents a minute. */
const BOUND_MS = 300_000;
const DEFAULT_AGENTS = 3;
const MAX_AGENTS = 16;
const EXIT_DID_NOT_HOLD = 1;
const EXIT_INTERRUPTED = 130;

interface DemoFlags {
  readonly agents: number;
  readonly keep?: true;
  readonly json?: true;
  readonly log?: string;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'watch an image travel, once: registry → agents → clients, and an agent being killed; all on this machine, nothing is left',
    )
    .option('--agents <number>', `how many nodes, 1 to ${MAX_AGENTS}`, agentsOf, DEFAULT_AGENTS)
    .option('--keep', 'leave registry and agents running until Ctrl-C, and say where')
    .option('--json', 'print the result as JSON and nothing else')
    .option('--log <file>', "write the agents' logs to a file")
    .action(async (flags: DemoFlags) => {
      process.exitCode = await run(flags);
    });
}

async function run(flags: DemoFlags): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = (): void => {
    // The second time somebody means it.
    if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED);
    interrupted.abort();
  };
  using _listening = new StopSignals(process, ['SIGINT', 'SIGTERM', 'SIGHUP'], interrupt);
  // Nobody reads any longer (`| head`): the same as Ctrl-C.
  process.stdout.on('error', () => interrupted.abort());
  try {
    return await runIn(flags, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.stderr.write('\nwindlass demo: interrupted; everything is removed\n');
    return EXIT_INTERRUPTED;
  }
}

async function runIn(flags: DemoFlags, interrupted: AbortSignal): Promise<number> {
  const terminal = terminalOf(process.stdout, process.env);
  const view = viewOf(flags, terminal);
  const signal = AbortSignal.any([interrupted, AbortSignal.timeout(BOUND_MS)]);
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(path.join(tmpdir(), 'windlass-demo-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));

  const { marks, paint } = terminal;
  const { agents, log } = flags;
  const middle = agents === 1 ? 'an agent' : `${agents} agents`;
  view.say(
    `\n  ${paint('bold', 'windlass demo')}   registry ${marks.arrow} ${middle} ${marks.arrow} clients, all on this machine\n`,
  );
  const [, entry = ''] = process.argv;
  const demo = stack.use(await Demo.start({ directory, view, agents, entry, log }, signal));
  const result = await demo.run(signal);
  if (flags.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  view.say(`\n${renderResult(result, terminal)}\n`);
  if (flags.keep) {
    const { kept, registryUrl } = demo;
    view.say(`${renderKept({ ...kept, registryUrl, image: IMAGE_NAME })}\n`);
    await untilAborted(interrupted);
  } else {
    view.say(`${renderNext()}\n`);
  }
  return result.ok ? 0 : EXIT_DID_NOT_HOLD;
}

function agentsOf(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > MAX_AGENTS) {
    throw new InvalidArgumentError(`write a whole number from 1 to ${MAX_AGENTS}`);
  }
  return number;
}

function viewOf({ json }: DemoFlags, terminal: Terminal): DemoView {
  if (json) return SILENT_VIEW;
  return terminal.isLive ? new LiveView(process.stdout, terminal) : new PlainView(process.stdout);
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
