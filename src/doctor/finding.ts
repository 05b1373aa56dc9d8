/**
 * What is wrong with a node. An `error`: pulls do not come through the mirror, or not to other nodes, as they should. A
 * `warning`: they do, and something makes that slower, less, or likely to end.
 */
export interface Finding {
  /** For programs; does not change. */
  readonly code: string;
  readonly severity: 'error' | 'warning';
  readonly what: string;
  readonly mend: string;
  /** A URL: where that is documented, by those whose it is. */
  readonly docs: string;
  /** All that it is about (registries, peers), where `what` names the first few. */
  readonly about?: readonly string[];
}

/** What came of one look at the node. */
export interface CheckResult {
  readonly check: CheckName;
  /** What was seen, or why nothing was looked at; findings say the rest. */
  readonly seen: string;
  /** Something else that is wrong keeps it from being looked at, or is why it failed; or the settings make it needless. */
  readonly skipped: boolean;
  readonly findings: readonly Finding[];
}

export const CHECK_NAMES = [
  'agent',
  'runtime',
  'config_path',
  'hosts.toml',
  'layers',
  'mirror',
  'pull',
  'peers',
  'clock',
  'disk',
  'limits',
] as const;

export type CheckName = (typeof CHECK_NAMES)[number];

export function result(check: CheckName, seen: string, findings: readonly Finding[] = []): CheckResult {
  return { check, seen, skipped: false, findings };
}

export function skipped(check: CheckName, why: string): CheckResult {
  return { check, seen: why, skipped: true, findings: [] };
}

/** `a, b, c and 12 more`. */
export function firstOf(names: readonly string[], most = 4): string {
  const more = names.length - most;
  return more <= 0 ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${more} more`;
}
