import { isDeepStrictEqual } from 'node:util';
import { type FakeKubeApi, type Route, statusOf } from '../../support/fake-kube-api.ts';

export interface Taint {
  readonly key: string;
  readonly effect: string;
  readonly [field: string]: unknown;
}

interface Step {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

/** A Node at a FakeKubeApi, which patches its taints as a real API server does. */
export class NodeObject {
  taints: Taint[];
  /** Called after it was read: what others do meanwhile. */
  onRead: () => void = () => undefined;
  readonly #path: string;

  constructor(api: FakeKubeApi, name: string, taints: readonly Taint[]) {
    this.taints = [...taints];
    this.#path = `/api/v1/nodes/${name}`;
    api.routes.set(`GET ${this.#path}`, () => this.#read(name));
    api.routes.set(`PATCH ${this.#path}`, ({ body }) => this.#patch(JSON.parse(body)));
  }

  #read(name: string): ReturnType<Route> {
    const object = { metadata: { name }, spec: this.taints.length === 0 ? {} : { taints: [...this.taints] } };
    this.onRead();
    return { object };
  }

  #patch(steps: readonly Step[]): ReturnType<Route> {
    const taints = [...this.taints];
    for (const { op, path, value } of steps) {
      const index = Number(/^\/spec\/taints\/(\d+)$/.exec(path)?.[1]);
      if (op === 'remove') taints.splice(index, 1);
      else if (op !== 'test' || !isDeepStrictEqual(taints[index], value)) {
        return { status: 422, object: statusOf(422, `testing value ${path} failed`) };
      }
    }
    this.taints = taints;
    return { object: {} };
  }
}
