import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { type CommandResult, run, tryCommand } from './commands.ts';
import type { KubeObject } from './kube-objects.ts';
import type { Scratch } from './scratch.ts';

export const CHART = fileURLToPath(new URL('../../charts/windlass', import.meta.url));

/** helm, with nothing of the user's. */
export class Helm {
  readonly #binary: string;
  readonly #scratch: Scratch;
  readonly #env: NodeJS.ProcessEnv;
  #files = 0;

  /** @param kubeconfig of the cluster that `install` and the like are for */
  constructor(binary: string, scratch: Scratch, kubeconfig = '/nonexistent') {
    this.#binary = binary;
    this.#scratch = scratch;
    const home = (name: string) => scratch.join(`helm-${name}`);
    this.#env = {
      KUBECONFIG: kubeconfig,
      HELM_CACHE_HOME: home('cache'),
      HELM_CONFIG_HOME: home('config'),
      HELM_DATA_HOME: home('data'),
    };
  }

  /** It must succeed. */
  run(...args: string[]): Promise<CommandResult> {
    return run(this.#binary, args, { env: this.#env });
  }

  try(...args: string[]): Promise<CommandResult> {
    return tryCommand(this.#binary, args, { env: this.#env });
  }

  /** Flags that give these values. */
  async values(values: object): Promise<string[]> {
    this.#files += 1;
    const path = this.#scratch.join(`values-${this.#files}.json`);
    await writeFile(path, JSON.stringify(values));
    return ['--values', path];
  }

  /** What the chart makes of values, hooks included, as the release windlass in the namespace windlass. */
  async template(values: object = {}): Promise<KubeObject[]> {
    const { stdout } = await this.run('template', 'windlass', CHART, '-n', 'windlass', ...(await this.values(values)));
    return parseAllDocuments(stdout)
      .map((document) => document.toJS({ maxAliasCount: 0 }) as KubeObject | null)
      .filter((object) => object !== null);
  }

  /** Why the chart refuses values. */
  async refusal(values: object): Promise<string> {
    const { code, stderr } = await this.try('template', 'windlass', CHART, ...(await this.values(values)));
    if (code === 0) throw new Error(`taken: ${JSON.stringify(values)}`);
    return stderr;
  }
}

/** The one of a kind and name. @throws if there is none */
export function objectOf(objects: readonly KubeObject[], kind: string, name: string): KubeObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}
