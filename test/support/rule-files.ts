import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const FILES = new URL('../../charts/windlass/files/', import.meta.url);

export const ALERTS_PATH = fileURLToPath(new URL('alerts.rules.yaml', FILES));
export const RECORDING_PATH = fileURLToPath(new URL('recording.rules.yaml', FILES));

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly Alert[] }[];
}

export async function readAlerts(): Promise<readonly Alert[]> {
  const { groups } = parse(await readFile(ALERTS_PATH, 'utf8')) as RuleFile;
  return groups.flatMap(({ rules }) => rules);
}
