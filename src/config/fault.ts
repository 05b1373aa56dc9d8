import { WindlassError } from '../errors.ts';

/** One thing that is wrong with the settings. */
export interface Fault {
  /** The setting's key, or what was written instead of one. */
  readonly key: string;
  /** `flag --store.max-size`, `variable WINDLASS_…`, `windlass.yaml:12`; undefined where nobody wrote it. */
  readonly origin: string | undefined;
  /** Absent where there is none, or where it might be a secret. */
  readonly value?: unknown;
  /** What would be right. */
  readonly right: string;
}

const SHOWN_LENGTH = 80;

/** No secret belongs in the settings; somebody may have written one nevertheless. */
const SECRET = /pass|secret|token|auth|cred/i;

export function invalidSettings(faults: readonly Fault[]): WindlassError {
  const title = faults.length === 1 ? 'a setting cannot be used' : `${faults.length} settings cannot be used`;
  return new WindlassError(
    'INVALID_SETTINGS',
    [`${title}:`, ...faults.map((fault) => `  ${describe(fault)}`)].join('\n'),
  );
}

/** The candidate that was probably meant: the same but for case and punctuation, its last words, or two letters off. */
export function nearest(written: string, candidates: readonly string[]): string | undefined {
  const wanted = bare(written);
  if (wanted === '') return undefined;
  const same = candidates.find((candidate) => bare(candidate) === wanted);
  if (same !== undefined) return same;
  const ending = wanted.length < 4 ? [] : candidates.filter((candidate) => bare(candidate).endsWith(wanted));
  if (ending.length === 1) return ending[0];
  const limit = wanted.length < 5 ? 1 : 2;
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: distance(wanted, bare(candidate)) }))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0] !== undefined && ranked[0].distance <= limit ? ranked[0].candidate : undefined;
}

function describe({ key, origin, value, right }: Fault): string {
  const shown = value === undefined ? '' : ` = ${SECRET.test(key) ? '(not shown)' : show(value)}`;
  return oneLine(`${key}${shown}${origin === undefined ? '' : ` (${origin})`}: ${right}`);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  if (SECRET.test(text)) return '(not shown)';
  const safe = text.replace(/\/\/[^/\s"@]+@/g, '//…@');
  return safe.length > SHOWN_LENGTH ? `${safe.slice(0, SHOWN_LENGTH)}…` : safe;
}

/** A fault is one line whatever somebody wrote in a key, and cannot move a terminal's cursor. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}

function bare(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
