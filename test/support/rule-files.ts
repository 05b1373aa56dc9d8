import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';

const FILES = new URL('../../charts/windlass/files/', import.meta.url);

export const ALERTS_PATH = fileURLToPath(new URL('alerts.rules.yaml', FILES));
export const RECORDING_PATH = fileURLToPath(new URL('recording.rules.yaml', FILES));

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Recording {
  readonly record: string;
  readonly expr: string;
}

interface RuleFile<R> {
  readonly groups: readonly { readonly interval?: string; readonly rules: readonly R[] }[];
}

export function readAlerts(): Promise<readonly Alert[]> {
  return rulesOf<Alert>(ALERTS_PATH);
}

export function readRecorded(): Promise<readonly Recording[]> {
  return rulesOf<Recording>(RECORDING_PATH);
}

/** Copies a file of rules, so that Prometheus evaluates all of them as often as it is told for all: tests cannot wait. */
export async function copyWithoutIntervals(from: string, to: string): Promise<string> {
  const { groups } = parse(await readFile(from, 'utf8')) as RuleFile<unknown>;
  await writeFile(to, stringify({ groups: groups.map(({ interval: _, ...group }) => group) }));
  return to;
}

async function rulesOf<R>(path: string): Promise<readonly R[]> {
  const { groups } = parse(await readFile(path, 'utf8')) as RuleFile<R>;
  return groups.flatMap(({ rules }) => rules);
}
