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
  /** Called after it was read, which a patch of nothing does: what others do meanwhile. */
  onRead: () => void = () => undefined;

  constructor(api: FakeKubeApi, name: string, taints: readonly Taint[]) {
    this.taints = [...taints];
    api.routes.set(`PATCH /api/v1/nodes/${name}`, ({ body }) => {
      const steps: readonly Step[] = JSON.parse(body);
      return steps.length === 0 ? this.#read(name) : this.#patch(steps);
    });
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
