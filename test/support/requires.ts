import { networkInterfaces } from 'node:os';
import { describe } from 'vitest';
import { which } from './commands.ts';

/** Why this machine cannot do something; undefined: it can. */
export type Missing = string | undefined;

/** Commands that must be installed. */
export function commandsMissing(...commands: readonly string[]): Missing {
  const missing = commands.filter((command) => which(command) === undefined);
  return missing.length === 0 ? undefined : `${missing.join(', ')} not installed`;
}

export function rootMissing(): Missing {
  return process.getuid?.() === 0 ? undefined : 'root is needed';
}

/** On loopback. */
export const ipv6Missing: Missing = networkInterfaces().lo?.some(({ family }) => family === 'IPv6')
  ? undefined
  : 'no IPv6 here';

/** A `describe` that is skipped, with the reason in its name, if anything is missing. */
export function describeWith(name: string, missing: readonly Missing[], body: () => void): void {
  const reasons = missing.filter((reason) => reason !== undefined);
  if (reasons.length === 0) describe(name, body);
  else describe.skip(`${name} [skipped: ${reasons.join('; ')}]`, body);
}
