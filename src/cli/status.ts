import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { createLogUpdate } from 'log-update';
import { readSettings } from '../config/load-settings.ts';
import { type Terminal, terminalOf } from '../demo/terminal.ts';
import { WindlassError } from '../errors.ts';
import type { AgentStatus } from '../status/agent-status.ts';
import { parseStatusUrl, readStatus, statusUrl } from '../status/status-client.ts';
import { renderStatus } from './render-status.ts';
import { StopSignals } from './stop-signals.ts';

const ANSWER_MS = 5_000;
const FRAME_MS = 1_000;

interface StatusFlags {
  readonly watch?: true;
  readonly json?: true;
  readonly url?: string;
  readonly config?: string;
  readonly 'status.listen'?: string;
}

export function statusCommand(): Command {
  return new Command('status')
    .description(
      "Shows a node's peers, live transfers, hit rate and totals, as its agent tells them at its status port.",
    )
    .option('--watch', 'show it anew each second, until Ctrl-C')
    .option('--json', 'print what the agent answers, as JSON (with --watch: one line each time)')
    .option('--url <url>', 'where the agent is asked, as in http://10.0.0.3:5053')
    .option('--config <file>', "the agent's settings, to find its status port")
    .option('--status.listen <address>', 'the same, from this setting alone')
    .action(async (flags: StatusFlags) => {
      const url = await urlOf(flags);
      if (flags.watch === true) await watch(url, flags);
      else print(await readStatus(url, AbortSignal.timeout(ANSWER_MS)), flags);
    });
}

function print(status: AgentStatus, { json }: StatusFlags): void {
  const text = json === true ? JSON.stringify(status, undefined, 2) : renderStatus(status, terminal());
  process.stdout.write(`${text}\n`);
}

/** Until somebody stops it: an agent that is away may be back the next second. */
async function watch(url: string, { json }: StatusFlags): Promise<void> {
  const stop = new AbortController();
  using _listening = new StopSignals(process, ['SIGINT', 'SIGTERM', 'SIGHUP'], () => stop.abort());
  process.stdout.on('error', () => stop.abort());
  const isLive = json !== true && terminal().isLive;
  const draw = isLive ? createLogUpdate(process.stdout) : undefined;
  try {
    while (!stop.signal.aborted) {
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(ANSWER_MS)]);
      const block = await readStatus(url, signal).then(
        (status) => (json === true ? JSON.stringify(status) : renderStatus(status, terminal())),
        (error: unknown) => (error instanceof WindlassError ? error.message : String(error)),
      );
      if (stop.signal.aborted) break;
      if (draw !== undefined) draw(block);
      else if (json !== true) process.stdout.write(`${block}\n\n`);
      else if (block.startsWith('{')) process.stdout.write(`${block}\n`);
      else process.stderr.write(`windlass: ${block}\n`);
      await sleep(FRAME_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  } finally {
    draw?.done();
  }
}

async function urlOf(flags: StatusFlags): Promise<string> {
  if (flags.url !== undefined) return parseStatusUrl(flags.url);
  const names = ['config', 'status.listen'] as const;
  const { settings } = await readSettings({
    flags: names.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`])),
    env: process.env,
    cwd: process.cwd(),
  });
  return statusUrl(settings.status.listen);
}

function terminal(): Terminal {
  return terminalOf(process.stdout, process.env);
}
