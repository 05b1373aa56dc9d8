import { array, assert, asyncProperty, boolean, constantFrom, integer, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RosterSimulation } from '../unit/routing/roster-simulation.ts';

const AGENTS = 30;
/** Each compares every 30 s at least, and probes all others within 150 s. */
const QUIET_MS = 150_000;

const agent = integer({ min: 1, max: AGENTS });
/** What befalls the cluster, one after the other. */
const happening = record({
  kind: constantFrom('kill', 'unplug', 'leave', 'restart', 'partition', 'heal', 'cut', 'hello'),
  agent,
  other: agent,
  afterMs: integer({ min: 0, max: 20_000 }),
});

const world = record({
  seed: integer({ min: 0, max: 2 ** 31 }),
  /** In thousandths; 1000 is a cluster without any news. */
  newsLoss: constantFrom(0, 300, 1_000),
  /** All meet all at the start, or each meets only the one before it. */
  chain: boolean(),
  happenings: array(happening, { maxLength: 12 }),
});

describe('the rosters of a cluster', () => {
  test('are one roster after a quiet time, whatever came before', { timeout: 60_000 }, async () => {
    await assert(
      asyncProperty(world, async ({ seed, newsLoss, chain, happenings }) => {
        const cluster = new RosterSimulation(seed);
        cluster.newsLoss = newsLoss / 1_000;
        const incarnations = new Map<number, number>();
        const start = async (number: number) => {
          const incarnation = (incarnations.get(number) ?? 0) + 1;
          incarnations.set(number, incarnation);
          cluster.start(number, incarnation);
          const others = [...cluster.agents.keys()].filter((other) => other !== number);
          for (const other of chain ? others.slice(-1) : others) await cluster.hello(number, other);
        };
        for (let number = 1; number <= AGENTS; number += 1) {
          await start(number);
          await cluster.clock.run(50 * cluster.random());
        }
        for (const { kind, agent, other, afterMs } of happenings) {
          await cluster.clock.run(afterMs);
          if (kind === 'partition') for (let at = 1; at <= AGENTS; at += 1) cluster.sides.set(at, at <= other ? 0 : 1);
          else if (kind === 'heal') cluster.sides.clear();
          else if (kind === 'cut') cluster.cut.add(`${agent}>${other}`);
          else if (kind === 'hello') await cluster.hello(agent, other);
          else if (kind === 'restart') {
            cluster.kill(agent);
            await start(agent);
          } else if (cluster.agents.size > 5) {
            const leaving = kind === 'leave' ? cluster.agents.get(agent)?.roster.leave() : undefined;
            if (leaving !== undefined) await Promise.all([leaving, cluster.clock.run(1_500)]);
            cluster.kill(agent, { host: kind === 'unplug' });
          }
        }
        cluster.sides.clear();
        cluster.cut.clear();
        await cluster.clock.run(QUIET_MS);
        const running = [...cluster.agents.values()];
        const names = [...cluster.agents.keys()].sort((a, b) => a - b);
        for (const { number } of running) expect(cluster.seenBy(number), `by ${number}`).toEqual(names);
        const keys = Array.from({ length: 200 }, () => `blob:${cluster.random()}`);
        const keepers = running.map(({ roster }) => keys.map((key) => roster.keepers(key)));
        for (const named of keepers) expect(named).toEqual(keepers[0]);
        for (const { number } of running) cluster.kill(number);
      }),
      { numRuns: 10, seed: 20261121, endOnFailure: true },
    );
  });
});
