import type { Command } from 'commander';
import { loadSettings } from '../config/load-settings.ts';
import { createLogger } from './create-logger.ts';
import { runUntilSignal } from './run-until-signal.ts';
import { settingsCommand } from './settings-command.ts';
import { settingsHelp } from './settings-help.ts';

/** Beyond the time that running pulls have to end: closing what is left. Together under kubelet's 30 s. */
const CLOSING_MS = 5_000;

export function agentCommand(): Command {
  return settingsCommand('agent')
    .description('Runs the mirror of this node until SIGTERM or SIGINT. Without any setting it works on its defaults.')
    .addHelpText('after', () => `\n${settingsHelp()}`)
    .action(async (_options: unknown, command: Command) => {
      process.exitCode = await runAgent(command.args);
    });
}

async function runAgent(flags: readonly string[]): Promise<number> {
  const { settings, warnings } = await loadSettings({ flags, env: process.env, cwd: process.cwd() });
  const logger = createLogger(settings.log);
  for (const warning of warnings) logger.warn(warning);
  process.on('uncaughtException', (error, origin) => {
    logger.fatal({ err: error, origin }, 'a fault that nobody handled: the agent ends');
    process.exit(1);
  });

  // Started by a program of Node's that kept a line to it (windlass demo): gone with it, however that ends.
  if (process.channel !== undefined) process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));

  // Only now: whoever asks for help or has a fault in the settings need not wait for the servers' code.
  const { createAgent } = await import('../agent/agent.ts');
  return runUntilSignal(createAgent(settings, { logger }), {
    signals: process,
    stopTimeoutMs: settings.stop.gracePeriod + CLOSING_MS,
    logger,
  });
}
