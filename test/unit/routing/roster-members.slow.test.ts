import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { MAX_NEWS_BYTES } from '../../../src/routing/control/gossip-news.ts';
import { type Member, type SignedMember, WIRE_VERSION } from '../../../src/routing/member.ts';
import { signMember, type Verify } from '../../../src/routing/member-entry.ts';
import {
  describeAgent,
  RosterSimulation,
  type SimulatedAgent,
  simulatedPeerId,
  simulatedSign,
  simulatedVerify,
} from './roster-simulation.ts';

const idOf = simulatedPeerId;

function agentOf(cluster: RosterSimulation, number: number): SimulatedAgent {
  const agent = cluster.agents.get(number);
  if (agent === undefined) throw new Error(`agent ${number} does not run`);
  return agent;
}

/** What some agent says of itself, whether it runs or not. */
function entryOf(number: number, change: Partial<Member> = {}): SignedMember {
  const member = { ...describeAgent(number), sequence: 0, wireVersion: WIRE_VERSION, leaving: false, ...change };
  return signMember(member, simulatedSign(member.peerId)).signed;
}

describe('a lone agent', () => {
  test('keeps every key itself, and calls nobody', async () => {
    const cluster = new RosterSimulation(1);
    const { roster } = cluster.start(1);
    await cluster.clock.run(600_000);
    expect(roster.keepers('blob:x')).toEqual([roster.self]);
    expect(roster.members()).toEqual([roster.self]);
    expect(cluster.calls.size).toBe(0);
  });
});

describe('a newcomer', () => {
  test.each([0, 1])('takes the whole roster from the one that it met (%d of the news lost)', async (loss) => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(16);
    cluster.newsLoss = loss;
    const { roster, changes } = cluster.start(17);
    await cluster.hello(17, 3);
    await cluster.clock.run(500);
    await roster.taken();
    expect(cluster.seenBy(17)).toHaveLength(17);
    // All that it took at once was told at once.
    expect(changes.length).toBeLessThanOrEqual(3);
    await cluster.clock.run(60_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toContain(17);
  });

  test('may take it from a bare address', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(4);
    const { roster } = cluster.start(5);
    const taking = roster.exchangeWith('10.0.0.2:5051');
    await cluster.clock.run(50);
    await taking;
    expect(cluster.seenBy(5)).toEqual([1, 2, 3, 4, 5]);
  });

  test('among a hundred is called by some of the others only', async () => {
    const cluster = new RosterSimulation(1);
    for (let number = 1; number <= 100; number += 1) {
      cluster.start(number);
      if (number > 1) await cluster.hello(number, number - 1);
    }
    await cluster.clock.run(15_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toHaveLength(100);
    const calls = [...cluster.calls.values()].reduce((sum, count) => sum + count, 0);
    expect(calls).toBeLessThan(100 * 40);
  });
});

describe('what a member says of itself', () => {
  test('a zone and an address learnt later reach all, and nobody left or joined for it', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(8);
    for (const { changes } of cluster.agents.values()) changes.length = 0;
    agentOf(cluster, 5).roster.updateSelf({ zone: 'zone-x', dataAddress: '10.0.0.5:7000' });
    await cluster.clock.run(1_000);
    for (const { roster, changes } of cluster.agents.values()) {
      expect(roster.get(idOf(5))).toMatchObject({ zone: 'zone-x', dataAddress: '10.0.0.5:7000' });
      expect(roster.keepers(idOf(5))[0]).toMatchObject({ zone: 'zone-x' });
      expect(changes).toEqual([]);
    }
  });

  test('reaches all within seconds though all news is lost', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(8);
    cluster.newsLoss = 1;
    agentOf(cluster, 5).roster.updateSelf({ zone: 'zone-x' });
    await cluster.clock.run(15_000);
    for (const { roster } of cluster.agents.values()) expect(roster.get(idOf(5))).toMatchObject({ zone: 'zone-x' });
  });

  test('it leaves: nobody names it any more, itself included, and its heirs know at once', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(8);
    cluster.newsLoss = 1;
    const { roster } = agentOf(cluster, 5);
    const leaving = roster.leave();
    await cluster.clock.run(100);
    await leaving;
    expect(roster.isLive(idOf(5))).toBe(false);
    expect(roster.self.leaving).toBe(true);
    const heirs = roster.keepers(idOf(5));
    expect(heirs).toHaveLength(3);
    for (const { nodeName } of heirs) {
      const heir = agentOf(cluster, Number(nodeName.slice('node-'.length)));
      expect(heir.roster.isLive(idOf(5))).toBe(false);
      expect(heir.changes.at(-1)?.left).toMatchObject([{ member: { nodeName: 'node-5' }, leaving: true }]);
      expect(heir.roster.get(idOf(5))).toMatchObject({ leaving: true });
    }
  });

  test('what nobody signed, or another one did, is left out, and what comes after it is not even looked at', async () => {
    let checks = 0;
    const verify: Verify = (...args) => {
      checks += 1;
      return simulatedVerify(...args);
    };
    const cluster = new RosterSimulation(1, { verify });
    const { roster, hear } = cluster.start(1);
    const forged = { ...entryOf(2), signature: entryOf(3).signature };
    await roster.merge([{ entry: '{', signature: '' }, entryOf(4), ...Array(300).fill(forged), entryOf(5)], idOf(4));
    expect(cluster.seenBy(1)).toEqual([1, 4]);
    expect(checks).toBe(2);
    // News may come a hundred times a second, and from whomever.
    const text = JSON.stringify({ entries: Array(64).fill(forged), dead: [] });
    const news = Buffer.from(JSON.stringify({ from: idOf(4), text, signature: '' }));
    for (const listener of hear) listener(news);
    expect(cluster.seenBy(1)).toEqual([1, 4]);
    expect(checks).toBe(3);
  });

  test('who runs with the identity of another is told, and runs on', async () => {
    const cluster = new RosterSimulation(1);
    const { roster } = cluster.start(1);
    await roster.merge([entryOf(1, { incarnation: 4, sequence: 7 })], idOf(2));
    expect(roster.self).toMatchObject({ incarnation: 5, sequence: 0 });
    await cluster.clock.run(2_000);
    await roster.merge([entryOf(1, { incarnation: 5, sequence: 7 })], idOf(2));
    expect(roster.self).toMatchObject({ incarnation: 5, sequence: 8 });
    expect(roster.isLive(idOf(1))).toBe(true);
  });
});

describe('a liar', () => {
  test('that makes up 100,000 members fills the roster to its bound, and pushes out nobody that was met', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(4);
    const { roster } = agentOf(cluster, 1);
    const one = { ...describeAgent(5), sequence: 0, wireVersion: WIRE_VERSION, leaving: false };
    for (let batch = 0; batch < 100; batch += 1) {
      const entries = Array.from({ length: 1_000 }, (_, at) => {
        const peerId = `12D3KooWmadeup${batch}x${at}`;
        return signMember({ ...one, peerId, dataAddress: '10.9.9.9:5051' }, simulatedSign(peerId)).signed;
      });
      const taking = roster.merge(entries, idOf(4));
      await cluster.clock.run(1);
      await taking;
    }
    expect(roster.members().length).toBeLessThanOrEqual(10_000);
    // Some were found out meanwhile; none made room for another one made up.
    expect(agentOf(cluster, 1).changes.flatMap(({ left }) => left).length).toBeLessThan(100);
    expect(roster.members().length).toBeGreaterThan(9_900);
    for (const number of [1, 2, 3, 4]) expect(roster.isLive(idOf(number))).toBe(true);
    // Somebody real comes: he is met, the others are hearsay.
    cluster.start(6);
    await cluster.hello(6, 1);
    expect(roster.isLive(idOf(6))).toBe(true);
    expect(roster.members().length).toBeLessThanOrEqual(10_000);
    roster.stop();
  });

  test('that makes up members is found out within seconds, without anybody needing them', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(4);
    const entries = Array.from({ length: 30 }, (_, at) => {
      const peerId = `12D3KooWmadeup${at}`;
      const member = { ...describeAgent(99), peerId, sequence: 0, wireVersion: WIRE_VERSION, leaving: false };
      return signMember(member, simulatedSign(peerId)).signed;
    });
    await agentOf(cluster, 1).roster.merge(entries, idOf(4));
    expect(agentOf(cluster, 1).roster.members()).toHaveLength(34);
    await cluster.clock.run(13_000);
    // In turn alone, four agents look at ten of them in that time.
    for (const { roster } of cluster.agents.values()) expect(roster.members().length).toBeLessThan(4 + 12);
    await cluster.clock.run(60_000);
    for (const { number } of cluster.agents.values()) expect(cluster.seenBy(number)).toEqual([1, 2, 3, 4]);
  });

  test.each([
    [undefined],
    [null],
    ['x'],
    [{ type: 'nothing' }],
    [{ type: 'probe' }],
    [{ type: 'compare', self: { entry: 'x'.repeat(5_000), signature: '' }, checksum: '' }],
    [{ type: 'mend', give: Array.from({ length: 1_001 }, () => entryOf(2)), want: [], dead: [] }],
    [{ type: 'mend', give: [], want: [], dead: [[idOf(1), -1, 0]] }],
    [{ type: 'ask', target: { toString: 1 } }],
  ])('that asks %j is told that it makes no sense', async (body) => {
    const cluster = new RosterSimulation(1);
    const { roster } = cluster.start(1);
    await expect(roster.handleRoster(idOf(2), body, AbortSignal.abort())).rejects.toMatchObject({
      code: 'PEER_NONSENSE',
    });
  });

  test.each([
    ['nonsense', () => ({ hello: 'world' })],
    ['the entry of another', () => ({ self: entryOf(2), checksum: 'x' })],
  ])('that answers with %s is not a member for long', async (_, lie) => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(4);
    cluster.lies.set(4, lie);
    await cluster.clock.run(60_000);
    expect(cluster.seenBy(1)).not.toContain(4);
  });

  test('that publishes nonsense, or the word of another, changes nothing', async () => {
    const cluster = new RosterSimulation(1);
    await cluster.settled(4);
    const { hear } = agentOf(cluster, 1);
    const { incarnation, sequence } = agentOf(cluster, 3).roster.self;
    const text = JSON.stringify({ entries: [], dead: [[idOf(3), incarnation, sequence]] });
    const signature = Buffer.from(simulatedSign(idOf(4))(Buffer.from(`windlass-news/1\0${text}`))).toString(
      'base64url',
    );
    const told = (message: string) => {
      for (const listener of hear) listener(Buffer.from(message));
    };
    for (const message of ['nonsense', '{"from":1}', ' '.repeat(1_000_000)]) told(message);
    told(JSON.stringify({ from: idOf(2), text, signature }));
    told(JSON.stringify({ from: idOf(4), text: text.replace('[]', '[ ]'), signature }));
    await cluster.clock.run(10_000);
    expect(agentOf(cluster, 3).roster.self.sequence).toBe(sequence);
    // The same, signed: 3 is asked, and says that it lives.
    told(JSON.stringify({ from: idOf(4), text, signature }));
    await cluster.clock.run(10_000);
    expect(agentOf(cluster, 3).roster.self.sequence).toBe(sequence + 1);
    expect(cluster.seenBy(1)).toEqual([1, 2, 3, 4]);
  });
});

describe('news', () => {
  test('goes out in batches: a hundred newcomers are some messages', async () => {
    const cluster = new RosterSimulation(1);
    const { roster } = cluster.start(1);
    await cluster.clock.run(1_000);
    cluster.newsSent = 0;
    for (let number = 2; number <= 101; number += 1) await roster.merge([entryOf(number)], idOf(number));
    await cluster.clock.run(199);
    expect(cluster.newsSent).toBe(0);
    await cluster.clock.run(801);
    expect(cluster.newsSent).toBe(2);
  });

  test('of members that say much of themselves fits into what others read', async () => {
    const cluster = new RosterSimulation(1);
    const [one, other] = [cluster.start(1), cluster.start(2)];
    await cluster.clock.run(1_000);
    for (let number = 3; number <= 32; number += 1) {
      const p2pAddresses = Array.from({ length: 12 }, (_, at) => `/ip4/10.0.0.${at}/tcp/5052/${'p'.repeat(200)}`);
      const entry = entryOf(number, { nodeName: `node-${number}`, zone: '"'.repeat(253), p2pAddresses });
      await one.roster.merge([entry], idOf(number));
    }
    await cluster.clock.run(1_000);
    // What gossip carries.
    expect(cluster.largestNews).toBeLessThan(MAX_NEWS_BYTES);
    expect(other.roster.members()).toHaveLength(1 + 31);
  });
});

describe('signatures of real identities', () => {
  test('are good enough for a roster', async () => {
    const { verifySignature } = await import('../../../src/routing/identity-signature.ts');
    const { peerIdOfKey } = await import('../../../src/routing/identity-peer-id.ts');
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const peerId = peerIdOfKey(publicKey);
    const member = { ...describeAgent(1), peerId, sequence: 0, wireVersion: WIRE_VERSION, leaving: false };
    const { signed } = signMember(member, (bytes) => sign(null, bytes, privateKey));
    const cluster = new RosterSimulation(1, { verify: verifySignature });
    const { roster } = cluster.start(2);
    await roster.merge([signed, entryOf(3)]);
    expect(roster.members().map((other) => other.peerId)).toEqual([idOf(2), peerId]);
  });
});
