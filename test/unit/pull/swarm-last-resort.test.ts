import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { PeerId } from '../../../src/routing/member.ts';
import { failOnUnhandledRejections, failureOf, MIB } from './pull-fixture.ts';
import { bytesOf, digestOf, ScriptedSource, whole } from './scripted-source.ts';
import { startCluster } from './swarm-fixture.ts';

const BYTES = bytesOf(2 * MIB + 77_777);
const DIGEST = digestOf(BYTES);

failOnUnhandledRejections();

describe('a blob that a peer holds, and no keeper knows it', () => {
  /** Node 0 holds it; `hints`: whom others find by themselves. */
  async function start(hints: () => Promise<readonly PeerId[]>) {
    const source = new ScriptedSource(whole(BYTES));
    const lookups: string[] = [];
    const lookup = async (digest: string) => {
      lookups.push(digest);
      return hints();
    };
    const cluster = await startCluster(3, source, BYTES, { lookup });
    await cluster.node(0).pull(DIGEST);
    cluster.keeper.holders.clear();
    const upstreamFails = (code: 'UPSTREAM_UNAVAILABLE' | 'NOT_FOUND' | 'UPSTREAM_RATE_LIMITED') => {
      source.answer = async () => {
        throw new WindlassError(code, 'no');
      };
    };
    return { cluster, source, lookups, upstreamFails, holder: cluster.node(0).id };
  }

  test.each(['UPSTREAM_UNAVAILABLE', 'UPSTREAM_RATE_LIMITED'] as const)('is read from there on %s', async (code) => {
    const holder: PeerId[] = [];
    const { cluster, upstreamFails, ...scene } = await start(async () => holder);
    holder.push(cluster.node(2).id, scene.holder);
    upstreamFails(code);
    expect((await cluster.node(1).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(cluster.opened.filter(({ by }) => by === cluster.node(1).id).map(({ to }) => to)).toEqual(holder);
    // From now on its keeper knows.
    expect((await cluster.node(2).pull(DIGEST)).equals(BYTES)).toBe(true);
    expect(scene.lookups).toEqual([DIGEST]);
  });

  test('is not looked for while upstream gives it, nor where upstream refuses it', async () => {
    const { cluster, lookups, upstreamFails, ...scene } = await start(async () => [scene.holder]);
    await cluster.node(1).pull(DIGEST);
    cluster.keeper.holders.clear();
    upstreamFails('NOT_FOUND');
    expect(await failureOf(cluster.node(2).pull(DIGEST))).toMatchObject({ code: 'NOT_FOUND' });
    expect(lookups).toEqual([]);
  });

  test.each([
    ['nobody', async () => []],
    [
      'a search that fails',
      async () => {
        throw new Error('no DHT');
      },
    ],
    ['somebody who is no member any more', async () => ['gone']],
  ])('where %s is found, the pull fails with what upstream said', async (_name, hints) => {
    const { cluster, upstreamFails } = await start(hints);
    upstreamFails('UPSTREAM_UNAVAILABLE');
    expect(await failureOf(cluster.node(1).pull(DIGEST))).toMatchObject({ code: 'UPSTREAM_UNAVAILABLE' });
  });
});
