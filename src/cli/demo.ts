import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { pino } from 'pino';
import { createAgent } from '../agent.ts';
import { loadSettings } from '../config/load-settings.ts';
import { Demo, type DemoMirror, IMAGE_NAME } from '../demo/demo.ts';
import { renderKept, renderNext, renderResult } from '../demo/report.ts';
import { type Terminal, terminalOf } from '../demo/terminal.ts';
import { type DemoView, LiveView, PlainView, SILENT_VIEW } from '../demo/view.ts';
import { StopSignals } from './stop-signals.ts';

/** Whatever hangs, the demo doesn't. Unhindered it takes 5 to 8 s. */
const BOUND_MS = 120_000;
const EXIT_DID_NOT_HOLD = 1;
const EXIT_INTERRUPTED = 130;

interface DemoFlags {
  readonly keep?: true;
  readonly json?: true;
  readonly log?: string;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('watch one image travel, once: registry → agent → eight clients; all on this machine, nothing is left')
    .option('--keep', 'leave registry and agent running until Ctrl-C, and say where')
    .option('--json', 'print the result as JSON and nothing else')
    .option('--log <file>', "write the agent's log to a file")
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
  view.say(
    `\n  ${paint('bold', 'windlass demo')}   registry ${marks.arrow} agent ${marks.arrow} 8 clients, all on this machine\n`,
  );
  let statusUrl = '';
  const startMirror = async (storePath: string, registryHost: string, registryUrl: string): Promise<DemoMirror> => {
    const agent = await startAgent(flags, storePath, registryHost, registryUrl);
    statusUrl = `http://${agent.statusAddress}`;
    return { url: `http://${agent.mirrorAddresses[0]}`, stop: () => agent.stop() };
  };
  const demo = stack.use(await Demo.start({ directory, view, startMirror }, signal));
  const result = await demo.run(signal);
  if (flags.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  view.say(`\n${renderResult(result, terminal)}\n`);
  if (flags.keep) {
    const { mirrorUrl, registryUrl } = demo;
    view.say(`${renderKept({ mirrorUrl, registryUrl, statusUrl, image: IMAGE_NAME })}\n`);
    await untilAborted(interrupted);
  } else {
    view.say(`${renderNext()}\n`);
  }
  return result.ok ? 0 : EXIT_DID_NOT_HOLD;
}

async function startAgent(
  flags: DemoFlags,
  storePath: string,
  registryHost: string,
  registryUrl: string,
): Promise<ReturnType<typeof createAgent>> {
  // Proxies are for the world outside: everything here is on loopback.
  process.env.NO_PROXY = '127.0.0.1';
  const registries = [{ host: registryHost, endpoint: registryUrl }];
  const given = {
    'store.path': storePath,
    'store.min-free': '1%',
    'store.scrub-rate': '0',
    'mirror.listen': '127.0.0.1:0',
    'status.listen': '127.0.0.1:0',
    'tags.max-age': '1h',
    'stop.grace-period': '1s',
    registries: JSON.stringify(registries),
  };
  const { settings } = await loadSettings({
    flags: Object.entries(given).map(([name, value]) => `--${name}=${value}`),
    env: {},
    cwd: process.cwd(),
  });
  const logger =
    flags.log === undefined ? pino({ level: 'silent' }) : pino(pino.destination({ dest: flags.log, sync: true }));
  const agent = createAgent(settings, { logger });
  await agent.start();
  return agent;
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
