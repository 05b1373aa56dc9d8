import type { Outcome } from '../containerd/outcome.ts';

/** All was done but what somebody must look at. */
export const EXIT_LEFT = 3;

const WORDS: Readonly<Record<Outcome['kind'], string>> = {
  written: 'written',
  unchanged: 'as it should be',
  fine: 'as it should be, by somebody else',
  restored: 'put back',
  removed: 'removed',
  skipped: 'skipped',
  left: 'left alone',
};

/** A line for each file: on stderr, and an exit code of its own, where something was left alone. */
export function reportOutcomes(outcomes: readonly Outcome[]): void {
  for (const { path, kind, why } of outcomes) {
    const line = `${WORDS[kind]}: ${path}${why === undefined ? '' : `: ${why}`}\n`;
    if (kind === 'left') process.stderr.write(line);
    else process.stdout.write(line);
  }
  if (outcomes.some(({ kind }) => kind === 'left')) process.exitCode = EXIT_LEFT;
}
