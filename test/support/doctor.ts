import { mkdir } from 'node:fs/promises';
import { readSettings } from '../../src/config/load-settings.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import type { CheckResult, Finding } from '../../src/doctor/finding.ts';
import { type Subject, subjectOf } from '../../src/doctor/subject.ts';
import { statusUrl } from '../../src/status/status-client.ts';
import { run } from './commands.ts';
import type { Scratch } from './scratch.ts';

/** Generous: what is there answers on a loaded machine too. */
const ANSWER_MS = 60_000;

/** What `windlass doctor` would look at with these flags. */
export async function subjectWith(flags: readonly string[], root?: string, answerMs = ANSWER_MS): Promise<Subject> {
  const { settings } = await readSettings({ flags, env: {}, cwd: '/' });
  return subjectOf({ settings, cwd: '/', statusUrl: statusUrl(settings.status.listen), root, answerMs });
}

/** In this process: a command of its own takes a second longer. @param root of `emptyRoot` */
export async function doctor(
  flags: readonly string[],
  root: string,
  { pull = true, answerMs = ANSWER_MS } = {},
): Promise<readonly CheckResult[]> {
  return diagnose(await subjectWith(flags, root, answerMs), { pull });
}

/** For `--root`: a node where nothing is but the scratch folder, whatever runs on the machine of the tests. As root. */
export async function emptyRoot(scratch: Scratch): Promise<string> {
  const root = scratch.join('root');
  const mount = `${root}${scratch.path}`;
  await mkdir(mount, { recursive: true });
  await run('mount', ['--bind', scratch.path, mount]);
  scratch.defer(() => run('umount', ['-l', mount]));
  return root;
}

export function findingsOf(checks: readonly CheckResult[]): readonly Finding[] {
  return checks.flatMap(({ findings }) => findings);
}

/** Of the findings, in the order of the checks. */
export function codesOf(checks: readonly CheckResult[]): string[] {
  return findingsOf(checks).map(({ code }) => code);
}
