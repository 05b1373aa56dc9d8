import type { KubeApiserver } from './kube-apiserver.ts';

/** Of any kind: what the tests look at is read from it as it comes. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: every kind has another shape
  readonly [field: string]: any;
}

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

/** Comes and goes by itself. */
const RESTLESS = ['events', 'leases', 'apiservices', 'componentstatuses', 'ipaddresses'];

/** An API server's objects by kind, as its discovery tells where they are. */
export class KubeObjects {
  readonly #api: KubeApiserver;

  constructor(api: KubeApiserver) {
    this.#api = api;
  }

  /**
   * Would the server take it? It goes through all of its checks, unknown fields included, and is not kept.
   * @returns what it has to say about it: nothing, if all is well
   */
  async complaints(object: KubeObject): Promise<string[]> {
    const path = await this.#collection(object);
    const { status, text, warnings } = await this.#api.call(
      'POST',
      `${path}?dryRun=All&fieldValidation=Strict`,
      object,
    );
    const name = `${object.kind} ${object.metadata.name}`;
    return [...(status < 300 ? [] : [`${name}: ${status} ${text}`]), ...warnings.map((text) => `${name}: ${text}`)];
  }

  async create(object: KubeObject): Promise<void> {
    await this.#api.must('POST', await this.#collection(object), object);
  }

  /** All objects that there are, by group, kind, namespace and name. */
  async inventory(): Promise<string[]> {
    const found: string[] = [];
    for (const [group, resources] of await this.#groups()) {
      const listable = resources.filter(({ name, verbs }) => verbs.includes('list') && !RESTLESS.includes(name));
      for (const { name, kind } of listable) {
        const { items } = JSON.parse(await this.#api.must('GET', `${group}/${name}`));
        for (const { metadata } of items ?? [])
          found.push(`${group} ${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
      }
    }
    return [...new Set(found)].sort();
  }

  async #groups(): Promise<[path: string, resources: readonly Resource[]][]> {
    const { groups } = JSON.parse(await this.#api.must('GET', '/apis'));
    const paths = [
      '/api/v1',
      ...groups.map(
        (group: { preferredVersion: { groupVersion: string } }) => `/apis/${group.preferredVersion.groupVersion}`,
      ),
    ];
    return Promise.all(paths.map(async (path) => [path, await this.#resources(path)] as [string, readonly Resource[]]));
  }

  async #resources(path: string): Promise<readonly Resource[]> {
    return JSON.parse(await this.#api.must('GET', path)).resources;
  }

  async #collection({ apiVersion, kind, metadata }: KubeObject): Promise<string> {
    const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const resource = (await this.#resources(path)).find((one) => one.kind === kind && !one.name.includes('/'));
    if (resource === undefined) throw new Error(`the API server knows no ${apiVersion} ${kind}`);
    return resource.namespaced
      ? `${path}/namespaces/${metadata.namespace}/${resource.name}`
      : `${path}/${resource.name}`;
  }
}
