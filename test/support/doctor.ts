import { readSettings } from '../../src/config/load-settings.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import type { CheckResult, Finding } from '../../src/doctor/finding.ts';
import { type Subject, subjectOf } from '../../src/doctor/subject.ts';
import { statusUrl } from '../../src/status/status-client.ts';

/** What `windlass doctor` would look at with these flags. */
export async function subjectWith(flags: readonly string[], root?: string): Promise<Subject> {
  const { settings } = await readSettings({ flags, env: {}, cwd: '/' });
  return subjectOf({ settings, cwd: '/', statusUrl: statusUrl(settings.status.listen), root });
}

/** In this process: a command of its own takes a second longer. */
export async function doctor(flags: readonly string[], pull = true): Promise<readonly CheckResult[]> {
  return diagnose(await subjectWith(flags, '/nonexistent'), { pull });
}

export function findingsOf(checks: readonly CheckResult[]): readonly Finding[] {
  return checks.flatMap(({ findings }) => findings);
}

/** Of the findings, in the order of the checks. */
export function codesOf(checks: readonly CheckResult[]): string[] {
  return findingsOf(checks).map(({ code }) => code);
}
