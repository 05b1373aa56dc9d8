import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import type { RosterChange } from '../../../src/routing/roster.ts';
import { RosterSimulation, type SimulatedAgent, simulatedPeerId } from './roster-simulation.ts';

const idOf = simulatedPeerId;

function agentOf(cluster: RosterSimulation, number: number): SimulatedAgent {
  const agent = cluster.agents.get(number);
  if (agent === undefined) throw new Error(`agent ${number} does not run`);
  return agent;
}

/** Forgets what came before. */
async function settled(count: number, seed = 1): Promise<RosterSimulation> {
  const cluster = new RosterSimulation(seed);
  await cluster.settled(count);
  for (const { changes } of cluster.agents.values()) changes.length = 0;
  cluster.calls.clear();
  cluster.newsSent = 0;
  return cluster;
}

/** Who left, by number, and how. */
const leftOf = (changes: readonly RosterChange[]) =>
  changes.flatMap(({ left }) => left.map(({ member, leaving }) => `${member.nodeName}${leaving ? ' leaving' : ''}`));
const joinedOf = (changes: readonly RosterChange[]) =>
  changes.flatMap(({ joined }) => joined.map(({ nodeName, incarnation }) => `${nodeName}/${incarnation}`));

describe('a member that died', () => {
  test('is out after a failed call and one refused probe, and soon everywhere', async () => {
    const cluster = await settled(16);
    cluster.kill(7);
    const { roster, changes } = agentOf(cluster, 3);
    roster.suspect(idOf(7), 'gone');
    await cluster.clock.run(20);
    expect(leftOf(changes)).toEqual(['node-7']);
    expect(roster.isLive(idOf(7))).toBe(false);
    await cluster.clock.run(3_000);
    for (const agent of cluster.agents.values()) expect(leftOf(agent.changes)).toEqual(['node-7']);
  });

  test('is asked by few of the others, as two settled members are believed', async () => {
    const cluster = await settled(40);
    cluster.kill(7);
    // Sixteen connections broke at once.
    for (let times = 0; times < 16; times += 1) agentOf(cluster, 3).roster.suspect(idOf(7), 'gone');
    await cluster.clock.run(3_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).not.toContain(7);
    // 24 of them are matters of course (one an agent in 5 s) within 3 s.
    expect(cluster.calls.get('probe')).toBeLessThan(24 + 40);
    expect(cluster.newsSent).toBeLessThan(20);
  });

  test('is found without anybody calling it, all news lost', async () => {
    const cluster = await settled(16);
    cluster.newsLoss = 1;
    cluster.kill(7, { host: true });
    await cluster.clock.run(60_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).not.toContain(7);
  });

  test('is vouched for by nobody who cannot look, for want of sockets; nor is who said so distrusted', async () => {
    const cluster = await settled(5);
    for (const witness of [1, 2, 4]) cluster.starved.add(witness);
    cluster.kill(5, { host: true });
    const { roster } = agentOf(cluster, 3);
    roster.suspect(idOf(5), 'silent');
    await cluster.clock.run(10_000);
    expect(roster.isLive(idOf(5))).toBe(false);
    cluster.starved.clear();
    await cluster.clock.run(15_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).not.toContain(5);
  });

  test('of whom this node knows nothing, for want of sockets, stays a member here', async () => {
    const cluster = await settled(5);
    cluster.starved.add(3);
    const { roster, changes } = agentOf(cluster, 3);
    roster.suspect(idOf(5), 'gone');
    await cluster.clock.run(20_000);
    expect(changes).toEqual([]);
  });

  test('is known for an hour more', async () => {
    const cluster = await settled(3);
    cluster.kill(2);
    await cluster.clock.run(60_000);
    const { roster } = agentOf(cluster, 1);
    expect(roster.get(idOf(2))?.nodeName).toBe('node-2');
    await cluster.clock.run(3_500_000);
    expect(roster.get(idOf(2))?.nodeName).toBe('node-2');
    await cluster.clock.run(100_000);
    expect(roster.get(idOf(2))).toBeUndefined();
  });

  test('comes back as a new start, and by no old entry', async () => {
    const cluster = await settled(8);
    const old = agentOf(cluster, 7).roster.signedSelf;
    cluster.kill(7);
    agentOf(cluster, 3).roster.suspect(idOf(7), 'gone');
    await cluster.clock.run(3_000);
    await agentOf(cluster, 4).roster.merge([old], idOf(3));
    expect(cluster.seenBy(4)).not.toContain(7);
    cluster.start(7, 2);
    await cluster.hello(7, 1);
    await cluster.clock.run(3_000);
    for (const { number, changes } of cluster.agents.values()) {
      if (number !== 7) expect(joinedOf(changes)).toEqual(['node-7/2']);
    }
  });

  test('and was back before anybody noticed: the old one left, the new one joined', async () => {
    const cluster = await settled(8);
    cluster.kill(7);
    cluster.start(7, 2);
    await cluster.hello(7, 1);
    await cluster.clock.run(2_000);
    const { changes } = agentOf(cluster, 4);
    expect(changes.map(({ joined, left }) => [joined.length, left.length])).toEqual([[1, 1]]);
    expect(changes[0]?.left[0]?.member.incarnation).toBe(1);
    expect(changes[0]?.joined[0]?.incarnation).toBe(2);
  });
});

describe('a member that lives', () => {
  test('stays when it is silent to one agent and answers the others', async () => {
    const cluster = await settled(8);
    cluster.cut.add('3>7');
    const { roster, changes } = agentOf(cluster, 3);
    roster.suspect(idOf(7), 'silent');
    await cluster.clock.run(10_000);
    expect(cluster.calls.get('ask')).toBe(3);
    expect(leftOf(changes)).toEqual([]);
    expect(roster.isLive(idOf(7))).toBe(true);
  });

  test('stays when a call failed once', async () => {
    const cluster = await settled(8);
    agentOf(cluster, 3).roster.suspect(idOf(7), 'gone');
    await cluster.clock.run(1_000);
    expect(leftOf(agentOf(cluster, 3).changes)).toEqual([]);
  });

  test('stays when it refused once, as it does while it is busy with something', async () => {
    const cluster = await settled(8);
    let refusals = 0;
    cluster.lies.set(7, () => {
      refusals += 1;
      cluster.lies.delete(7);
      throw new WindlassError('PEER_GONE', 'refused');
    });
    await cluster.clock.run(15_000);
    expect(refusals).toBe(1);
    for (const { changes } of cluster.agents.values()) expect(leftOf(changes)).toEqual([]);
  });

  test('is asked again by one who has it as dead, and meets another who does not', async () => {
    const cluster = await settled(8);
    cluster.newsLoss = 1;
    cluster.sides.set(7, 1);
    agentOf(cluster, 3).roster.suspect(idOf(7), 'silent');
    await cluster.clock.run(3_600);
    cluster.sides.clear();
    expect(cluster.seenBy(3)).not.toContain(7);
    expect(cluster.seenBy(5)).toContain(7);
    const exchange = agentOf(cluster, 3).roster.exchangeWith(agentOf(cluster, 5).roster.self);
    await cluster.clock.run(100);
    await exchange;
    expect(cluster.seenBy(3)).toContain(7);
  });

  test('is asked by one who is told at a comparison that it is dead', async () => {
    const cluster = await settled(8);
    cluster.newsLoss = 1;
    cluster.cut.add('3>7');
    for (const witness of [1, 2, 4, 5, 6, 8]) cluster.cut.add(`3>${witness}`);
    agentOf(cluster, 3).roster.suspect(idOf(7), 'silent');
    await cluster.clock.run(3_600);
    expect(cluster.seenBy(3)).not.toContain(7);
    cluster.cut.delete('3>5');
    const exchange = agentOf(cluster, 3).roster.exchangeWith(agentOf(cluster, 5).roster.self);
    await cluster.clock.run(1_500);
    await exchange;
    expect(agentOf(cluster, 7).roster.self.sequence).toBe(1);
    expect(agentOf(cluster, 5).roster.get(idOf(7))?.sequence).toBe(1);
  });

  test('is removed by no one liar, however often it is called dead', async () => {
    const cluster = await settled(8);
    const liar = idOf(2);
    for (let times = 0; times < 50; times += 1) {
      const { incarnation, sequence } = agentOf(cluster, 7).roster.self;
      const body = { type: 'mend', give: [], want: [], dead: [[idOf(7), incarnation, sequence]] };
      for (const number of [1, 3, 4, 5, 6, 7, 8]) {
        await agentOf(cluster, number).roster.handleRoster(liar, body, AbortSignal.abort());
      }
      await cluster.clock.run(500);
    }
    for (const { changes } of cluster.agents.values()) expect(leftOf(changes)).toEqual([]);
    // 8 agents x 25 s / 5 s are matters of course; believed for 30 s no more, it costs each at most one probe more; and
    // 7 itself asks the liar each time.
    expect(cluster.calls.get('probe')).toBeLessThan(8 * 5 * 1.4 + 8 + 50);
  });

  test('is removed by two liars for a moment: then it says itself that it lives', async () => {
    const cluster = await settled(8);
    const { incarnation, sequence } = agentOf(cluster, 7).roster.self;
    const body = { type: 'mend', give: [], want: [], dead: [[idOf(7), incarnation, sequence]] };
    // Nothing was heard of it lately, so that two are believed at once.
    cluster.sides.set(7, 1);
    await cluster.clock.run(4_000);
    cluster.sides.clear();
    for (const liar of [2, 3]) await agentOf(cluster, 5).roster.handleRoster(idOf(liar), body, AbortSignal.abort());
    await cluster.clock.run(20_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toContain(7);
  });

  test('and is thought to be dead comes back by itself, with a newer entry', async () => {
    const cluster = await settled(8);
    const before = agentOf(cluster, 7).roster.self;
    cluster.sides.set(7, 1);
    await cluster.clock.run(60_000);
    expect(cluster.seenBy(1)).not.toContain(7);
    expect(cluster.seenBy(7)).toEqual([7]);
    cluster.sides.clear();
    await cluster.clock.run(30_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(agentOf(cluster, 7).roster.self.sequence).toBeGreaterThan(before.sequence);
    expect(agentOf(cluster, 7).roster.self.incarnation).toBe(before.incarnation);
  });

  test('and calls others but cannot be called is out, and stays out until it can be', async () => {
    const cluster = await settled(8);
    for (const number of [1, 2, 3, 4, 5, 6, 8]) cluster.cut.add(`${number}>7`);
    await cluster.clock.run(60_000);
    for (const { changes } of cluster.agents.values()) changes.length = 0;
    await cluster.clock.run(120_000);
    for (const { number, changes } of cluster.agents.values()) {
      expect(changes).toEqual([]);
      if (number !== 7) expect(cluster.seenBy(number)).not.toContain(7);
    }
    cluster.cut.clear();
    await cluster.clock.run(10_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toHaveLength(8);
  });

  test('is heard again: it is asked at once, and is back', async () => {
    const cluster = await settled(4);
    cluster.sides.set(4, 1);
    await cluster.clock.run(60_000);
    cluster.sides.clear();
    expect(cluster.seenBy(1)).not.toContain(4);
    agentOf(cluster, 1).roster.heard(idOf(4));
    await cluster.clock.run(50);
    expect(cluster.seenBy(1)).toContain(4);
  });
});

describe('a partition', () => {
  test.each([0, 1])('of 8 and 8 gives two rosters, and one again when it heals (%d of the news lost)', async (loss) => {
    const cluster = await settled(16);
    cluster.newsLoss = loss;
    for (let number = 9; number <= 16; number += 1) cluster.sides.set(number, 1);
    await cluster.clock.run(120_000);
    for (const { number } of cluster.agents.values()) {
      expect(cluster.seenBy(number)).toEqual(number <= 8 ? [1, 2, 3, 4, 5, 6, 7, 8] : [9, 10, 11, 12, 13, 14, 15, 16]);
    }
    const isSplit = agentOf(cluster, 1).roster.changedAtMs;
    cluster.sides.clear();
    await cluster.clock.run(60_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toHaveLength(16);
    expect(agentOf(cluster, 1).roster.changedAtMs).toBeGreaterThan(isSplit);
    // Once one has met the other side, nobody is lost again on the way.
    for (const { changes } of cluster.agents.values()) expect(leftOf(changes)).toHaveLength(8);
  });

  test('of six hours heals as well', async () => {
    const cluster = await settled(4);
    cluster.sides.set(3, 1);
    cluster.sides.set(4, 1);
    await cluster.clock.run(6 * 3_600_000);
    cluster.sides.clear();
    await cluster.clock.run(60_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toEqual([1, 2, 3, 4]);
  });
});
