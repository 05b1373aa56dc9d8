import { writeFile } from 'node:fs/promises';
import { readSettings } from '../../src/config/load-settings.ts';
import type { Settings } from '../../src/config/settings.ts';
import { objectOf } from './helm.ts';
import type { KubeObject } from './kube-objects.ts';
import type { Scratch } from './scratch.ts';

/** Of what the chart renders. */
export interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly Readonly<Record<string, unknown>>[];
  // biome-ignore lint/suspicious/noExplicitAny: as Kubernetes has it
  readonly [field: string]: any;
}

/** The Pods of a DaemonSet. */
export function podOf(objects: readonly KubeObject[], name = 'windlass') {
  return objectOf(objects, 'DaemonSet', name).spec.template.spec;
}

/** One of the agents' Pods. @throws if there is none */
export function containerOf(objects: readonly KubeObject[], name: string): Container {
  const pod = podOf(objects);
  const found = [...(pod.initContainers ?? []), ...pod.containers].find((one: Container) => one.name === name);
  if (found === undefined) throw new Error(`no container ${name}`);
  return found;
}

/** The agent's variables; of those that the node tells, the value is undefined. */
export function envOf(objects: readonly KubeObject[]): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries((containerOf(objects, 'agent').env ?? []).map(({ name, value }) => [name, value]));
}

/** The ConfigMap as the agent reads it. */
export async function settingsOf(objects: readonly KubeObject[], scratch: Scratch): Promise<Settings> {
  const path = scratch.join('windlass.yaml');
  await writeFile(path, objectOf(objects, 'ConfigMap', 'windlass').data['windlass.yaml']);
  return (await readSettings({ flags: ['--config', path], env: {}, cwd: '/' })).settings;
}
