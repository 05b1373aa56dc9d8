import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Router } from '../../src/routing/router.ts';
import { digestOf } from '../support/image.ts';

export interface RouterNetwork {
  /** At least three, by peer id. */
  readonly routers: ReadonlyMap<string, Router>;
  /** Resolves when what was advertised and withdrawn has travelled. */
  settled(): Promise<void>;
  teardown(): Promise<void>;
}

/** What every router does, whatever carries it. */
export function routerConformance(name: string, setup: () => Promise<RouterNetwork>): void {
  describe(`${name} is a Router`, () => {
    const digest = (text: string) => digestOf(Buffer.from(text));
    const signal = new AbortController().signal;
    let network: RouterNetwork;
    let routers: [string, Router][];

    beforeEach(async () => {
      network = await setup();
      routers = [...network.routers];
    });
    afterEach(() => network.teardown());

    function router(index: number): Router {
      const found = routers[index]?.[1];
      if (found === undefined) throw new RangeError(`no router ${index}`);
      return found;
    }
    const nameOf = (index: number) => routers[index]?.[0] ?? '';
    const found = async (index: number, text: string) =>
      (await router(index).lookup(digest(text), { signal, timeoutMs: 10_000 })).sort();

    it('is ready', async () => {
      for (const [, each] of routers) await each.ready(signal);
    });

    it('finds nothing that nobody advertised', async () => {
      expect(await found(0, 'x')).toEqual([]);
    });

    it('finds who advertised it, from everywhere, but never the asker', async () => {
      router(0).advertise([digest('x'), digest('y')]);
      router(1).advertise([digest('x')]);
      await network.settled();
      expect(await found(2, 'x')).toEqual([nameOf(0), nameOf(1)].sort());
      expect(await found(2, 'y')).toEqual([nameOf(0)]);
      expect(await found(0, 'x')).toEqual([nameOf(1)]);
      expect(await found(0, 'y')).toEqual([]);
    });

    it('takes the same thing advertised twice for once, and a withdrawal of what was never advertised for nothing', async () => {
      router(0).advertise([digest('x'), digest('x')]);
      router(0).advertise([digest('x')]);
      router(1).withdraw([digest('x'), digest('z')]);
      await network.settled();
      expect(await found(1, 'x')).toEqual([nameOf(0)]);
    });

    it('finds no more what was withdrawn, and again what came back', async () => {
      router(0).advertise([digest('x')]);
      await network.settled();
      router(0).withdraw([digest('x')]);
      await network.settled();
      expect(await found(1, 'x')).toEqual([]);
      router(0).advertise([digest('x')]);
      await network.settled();
      expect(await found(1, 'x')).toEqual([nameOf(0)]);
    });

    it('ends a lookup when its caller leaves', async () => {
      const reason = new Error('left');
      const lookup = router(0).lookup(digest('x'), { signal: AbortSignal.abort(reason), timeoutMs: 10_000 });
      await expect(lookup).rejects.toBe(reason);
    });

    it('finds nothing for what is no digest', async () => {
      expect(await router(0).lookup('../../etc/passwd', { signal, timeoutMs: 10_000 })).toEqual([]);
    });
  });
}
