import { type Command, InvalidArgumentError } from 'commander';
import { readSettings } from '../config/load-settings.ts';
import { terminalOf } from '../demo/terminal.ts';
import { diagnose } from '../doctor/doctor.ts';
import type { CheckResult } from '../doctor/finding.ts';
import { type ImageName, parseImageName } from '../doctor/image-name.ts';
import { subjectOf } from '../doctor/subject.ts';
import { parseStatusUrl, statusUrl } from '../status/status-client.ts';
import { messageOf } from './message-of.ts';
import { renderDiagnosis } from './render-diagnosis.ts';
import { settingsCommand } from './settings-command.ts';
import { settingsHelp } from './settings-help.ts';

/** All was looked at, and something is wrong. */
const EXIT_FOUND = 3;

interface DoctorFlags {
  readonly image?: ImageName;
  readonly pull: boolean;
  readonly strict?: true;
  readonly json?: true;
  readonly url?: string;
  readonly root: string;
  /** Seconds. */
  readonly timeout: number;
}

export function doctorCommand(): Command {
  return settingsCommand('doctor')
    .description(
      'Says what keeps the pulls of this node from going through the mirror, how to mend it, and where that is documented. Changes nothing; run it as root on the node, with the settings of its agent. Exit code 0: nothing is wrong, 3: something is, 1: doctor itself failed, 2: wrong usage.',
    )
    .option('--image <name>', 'ask the mirror for this image as well, as in docker.io/library/redis:7', readImageName)
    .option('--no-pull', 'do not have containerd pull (and remove again) an empty image that the mirror itself has')
    .option('--strict', 'warnings count for the exit code as well')
    .option('--json', 'print what was found as JSON')
    .option('--url <url>', "where the agent's status is asked, if not at status.listen")
    .option('--timeout <seconds>', 'how long to wait for each answer; pulls get six times as much', readSeconds, 5)
    .option('--root <folder>', 'where / of the node is mounted, in a Pod', '/')
    .addHelpText('after', () => `\n${settingsHelp()}`)
    .action(async (flags: DoctorFlags, command: Command) => {
      process.exitCode = await run(flags, command.args);
    });
}

/** @throws InvalidArgumentError */
function readSeconds(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('It is a number of seconds, from 1 to 999.');
  return Number(text);
}

/** Commander says which option it was. @throws InvalidArgumentError */
function readImageName(text: string): ImageName {
  try {
    return parseImageName(text);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

async function run(
  { image, pull, strict, json, url, root, timeout }: DoctorFlags,
  args: readonly string[],
): Promise<number> {
  const cwd = process.cwd();
  const { settings } = await readSettings({ flags: args, env: process.env, cwd });
  const subject = subjectOf({
    settings,
    cwd,
    statusUrl: url === undefined ? statusUrl(settings.status.listen) : parseStatusUrl(url),
    root,
    answerMs: timeout * 1000,
  });
  const checks = await diagnose(subject, { image, pull });
  const isFound = hasFindings(checks, strict === true);
  const { name } = settings.node;
  const text =
    json === true
      ? JSON.stringify({ node: name, ok: !isFound, checks: checks.map(told) }, undefined, 2)
      : renderDiagnosis(name, checks, terminalOf(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
  return isFound ? EXIT_FOUND : 0;
}

/** What checks tell each other is nobody else's. */
function told({ check, seen, skipped, findings }: CheckResult): CheckResult {
  return { check, seen, skipped, findings };
}

function hasFindings(checks: readonly CheckResult[], isStrict: boolean): boolean {
  return checks.some(({ findings }) => findings.some(({ severity }) => isStrict || severity === 'error'));
}
