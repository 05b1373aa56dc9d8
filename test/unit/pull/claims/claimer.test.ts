import { describe, expect, test } from 'vitest';
import { WindlassError } from '../../../../src/errors.ts';
import type { Claimed, ClaimRequest, Lease } from '../../../../src/pull/claims/claims.ts';
import type { ClaimsRequest } from '../../../../src/pull/claims/messages.ts';
import { ClaimsNetwork, peerIdOf, type SimAgent } from '../../../support/claims-network.ts';
import { KEY } from './keeper-fixture.ts';

const signal = new AbortController().signal;

const request = (changes: Partial<ClaimRequest> = {}): ClaimRequest => ({
  key: KEY,
  source: 'docker.io/library/redis',
  registry: 'docker.io',
  sizeBytes: 10_000_000,
  prefix: 0,
  failed: [],
  inline: false,
  ...changes,
});

function cluster(nodes: number, options: Partial<ConstructorParameters<typeof ClaimsNetwork>[0]> = {}) {
  const network = new ClaimsNetwork({ seed: 3, ...options });
  network.start(Array.from({ length: nodes }, (_, i) => `node${i}`));
  const order = network
    .get('node0')
    .roster.keepers(KEY, nodes)
    .map(({ nodeName }) => network.get(nodeName));
  const [keeper, deputy, second, ...others] = order;
  if (keeper === undefined || deputy === undefined || second === undefined) throw new Error('three at least');
  return { network, keeper, deputy, second, others };
}

/** Claims, and lets the time pass until it is answered. @returns the answer, and how long it took. */
async function claimed(network: ClaimsNetwork, agent: SimAgent | undefined, changes: Partial<ClaimRequest> = {}) {
  if (agent === undefined) throw new Error('no such agent');
  let answer: Claimed | undefined;
  const startMs = network.queue.now();
  void agent.parts.claimer.claim(request(changes), signal).then((given) => {
    answer = given;
  });
  await network.queue.run(startMs + 60_000, () => answer !== undefined);
  if (answer === undefined) throw new Error('no answer in a minute');
  return { answer, ms: network.queue.now() - startMs };
}

function leaseOf(answer: Claimed): Lease {
  if (answer.kind !== 'write') throw new Error(`not granted: ${answer.kind}`);
  return answer.lease;
}

describe('asking for a claim', () => {
  test('asked again while the lease is held, it is the same lease', async () => {
    const { network, others } = cluster(5);
    const first = leaseOf((await claimed(network, others[0])).answer);
    expect(leaseOf((await claimed(network, others[0])).answer)).toBe(first);
    first.left();
    expect(leaseOf((await claimed(network, others[0])).answer)).not.toBe(first);
  });

  test.each(['its own keeper', 'another'])(
    'a right that was revoked while %s knew nothing of it is not waited for',
    async (who) => {
      const { network, keeper, others } = cluster(5);
      const agent = who === 'another' ? (others[0] ?? keeper) : keeper;
      const lease = leaseOf((await claimed(network, agent)).answer);
      const [granted] = keeper.parts.keeper.grants;
      agent.parts.claimer.revoke(KEY, granted?.grant.id ?? '');
      expect(lease.lost.aborted).toBe(true);
      const { answer, ms } = await claimed(network, agent);
      expect(answer.kind).toBe('write');
      expect(ms).toBeLessThan(500);
      expect(keeper.parts.keeper.grants).toHaveLength(1);
    },
  );

  test('a keeper that is gone costs a round trip: the deputy grants', async () => {
    const { network, keeper, deputy, others } = cluster(5);
    network.kill(keeper.name);
    const { answer, ms } = await claimed(network, others[0]);
    expect(answer.kind).toBe('write');
    expect(ms).toBeLessThan(100);
    expect(deputy.parts.keeper.grants).toHaveLength(1);
  });

  test('where nobody answers it grants itself, within 10 s', async () => {
    const { network, others } = cluster(6);
    for (const { name } of network.alive()) if (name !== others[0]?.name) network.suspend(name, 60_000);
    const { answer, ms } = await claimed(network, others[0]);
    expect(answer.kind).toBe('write');
    expect(ms).toBeLessThan(10_000);
  });

  // What would come inline is waited for at the keepers for 2 s more.
  test.each([false, true])(
    'where all three are silent, all ask the one behind them: it grants, once (inline: %s)',
    async (inline) => {
      const { network, keeper, deputy, second, others } = cluster(9);
      for (const { name } of [keeper, deputy, second]) network.suspend(name, 60_000);
      const kinds: string[] = [];
      for (const agent of others)
        void agent.parts.claimer.claim(request({ inline }), signal).then(({ kind }) => kinds.push(kind));
      await network.queue.run(14_000, () => kinds.length === others.length);
      expect(kinds.sort()).toEqual([...others.slice(1).map(() => 'read'), 'write']);
    },
  );

  test('who cannot reach any of the six nearest asks one that can: there the keeper is asked', async () => {
    const { network, keeper, deputy, second, others } = cluster(10);
    const last = others.at(-1);
    if (last === undefined) throw new Error('nobody');
    for (const agent of [keeper, deputy, second, ...others.slice(0, 3)]) network.cut.add(`${last.name}>${agent.name}`);
    expect((await claimed(network, others[0])).answer.kind).toBe('write');
    expect((await claimed(network, last)).answer.kind).toBe('read');
  });

  test('a writer whose keepers are silent is known to who is asked in their stead', async () => {
    const { network, keeper, deputy, second, others } = cluster(9);
    const lease = leaseOf((await claimed(network, others[1])).answer);
    for (const { name } of [keeper, deputy, second]) network.suspend(name, 120_000);
    await network.queue.run(network.queue.now() + 15_000);
    const kinds: string[] = [];
    for (const agent of others.slice(2))
      void agent.parts.claimer.claim(request(), signal).then(({ kind }) => kinds.push(kind));
    await network.queue.run(network.queue.now() + 14_000, () => kinds.length === others.length - 2);
    expect(kinds).toEqual(others.slice(2).map(() => 'read'));
    expect(lease.lost.aborted).toBe(false);
  });

  const parent = (peerId: string) => ({ peerId, dataAddress: '127.0.0.1:1', role: 'holder' });
  test.each([
    ["bytes that are not the key's", () => ({ kind: 'bytes', bytes: 'bGllcw==', ageMs: 0 })],
    ['that it be read from itself', (claimer: string) => ({ kind: 'read', parents: [parent(claimer)] })],
  ])('a keeper that lies (%s) is found out by the deputy too: nobody takes the deputy for the liar', async (_, lie) => {
    const { network, keeper, deputy, others } = cluster(6);
    const { handleClaims } = keeper.parts;
    Object.assign(keeper.parts, {
      handleClaims: async (...said: Parameters<typeof handleClaims>) => {
        const body = said[1] as ClaimsRequest;
        return body.type === 'claim' ? lie(body.onBehalfOf ?? said[0]) : handleClaims(...said);
      },
    });
    const kinds: string[] = [];
    for (const agent of others) kinds.push((await claimed(network, agent)).answer.kind);
    expect(kinds).toEqual(['write', ...others.slice(1).map(() => 'read')]);
    expect(deputy.parts.keeper.grants).toHaveLength(1);
  });

  test('what asks for the same by another name, as for a manifest, may use the right, and does not end it', async () => {
    const { network, keeper, others } = cluster(5);
    const [agent] = others;
    const lease = leaseOf((await claimed(network, agent)).answer);
    lease.progress('writing', 1_000_000);
    const source = `${request().source} manifest`;
    const borrowed = leaseOf((await claimed(network, agent, { source })).answer);
    borrowed.progress('opening', 0);
    borrowed.failed(new WindlassError('NOT_FOUND', 'no such manifest'));
    borrowed.left();
    agent?.parts.claimer.left(request().key, source);
    await network.queue.run(network.queue.now() + 3_000);
    expect(keeper.parts.keeper.grants).toMatchObject([{ grant: { phase: 'writing', prefix: 1_000_000 } }]);
    expect((await claimed(network, others[1])).answer.kind).toBe('read');
    expect(borrowed.lost.aborted).toBe(false);
    lease.left();
    // Who goes on without a right would ask upstream beside the next one.
    expect(borrowed.lost.aborted).toBe(true);
    await network.queue.run(network.queue.now() + 1_000);
    expect(keeper.parts.keeper.grants).toEqual([]);
  });

  test('of two that ask at once by two names, the second one does not end the right either', async () => {
    const { network, keeper, others } = cluster(5);
    const [agent] = others;
    const leases: Lease[] = [];
    for (const source of [request().source, `${request().source} manifest`])
      void agent?.parts.claimer
        .claim(request({ source, sizeBytes: 100_000 }), signal)
        .then((answer) => leases.push(leaseOf(answer)));
    await network.queue.run(network.queue.now() + 1_000, () => leases.length === 2);
    expect(leases).toHaveLength(2);
    leases[1]?.failed(new WindlassError('NOT_FOUND', 'no such manifest'));
    await network.queue.run(network.queue.now() + 1_000);
    expect(keeper.parts.keeper.grants).toHaveLength(1);
  });

  test('two that cannot reach the keeper are told of one writer by the same deputy', async () => {
    const { network, keeper, others } = cluster(6);
    network.suspend(keeper.name, 60_000);
    const kinds: string[] = [];
    for (const agent of others.slice(0, 2)) {
      void agent.parts.claimer.claim(request(), signal).then(({ kind }) => kinds.push(kind));
    }
    await network.queue.run(8_000, () => kinds.length === 2);
    expect(kinds.sort()).toEqual(['read', 'write']);
  });

  test('while a writer renews, however long it takes, nobody grants itself the right', async () => {
    const { network, others } = cluster(5);
    const lease = leaseOf((await claimed(network, others[0], { inline: true, sizeBytes: 100 })).answer);
    let prefix = 0;
    const renew = () => {
      prefix += 1;
      lease.progress('writing', prefix);
      network.queue.after(1_000, renew);
    };
    renew();
    let answer: Claimed | undefined;
    void others[1]?.parts.claimer.claim(request({ inline: true, sizeBytes: 100 }), signal).then((given) => {
      answer = given;
    });
    await network.queue.run(45_000);
    expect(answer).toBeUndefined();
    lease.left();
    await network.queue.run(46_000);
    expect(answer?.kind).toBe('write');
  });

  test('an answer that makes no sense counts against who gave it: others are asked for a while', async () => {
    const { network, keeper, others } = cluster(5);
    let asked = 0;
    Object.assign(keeper.parts, {
      handleClaims: async () => {
        asked += 1;
        return { kind: 'read', parents: [] };
      },
    });
    expect((await claimed(network, others[0])).answer.kind).toBe('write');
    const before = asked;
    await claimed(network, others[0], { key: KEY });
    expect(asked).toBe(before);
  });

  test('a tag whose answer may be two days old is claimed like others: nobody is left out for it', async () => {
    const { network, keeper, others } = cluster(8);
    const tag = { key: 'tag:docker.io/library/redis:7', inline: true, maxAgeMs: 2 * 86_400_000, sizeBytes: undefined };
    const [first, second] = network.alive();
    const { answer } = await claimed(network, first, tag);
    expect(answer.kind).toBe('write');
    first?.parts.claimer.held(tag.key, 'docker.io/library/redis', { bytes: Buffer.from('{}'), ageMs: 0 });
    expect((await claimed(network, second, tag)).answer.kind).toBe('bytes');
    for (const { parts } of [keeper, ...others]) expect(parts.leftOut()).toEqual([]);
  });

  test('leaving a claim by its signal ends it', async () => {
    const { network, others } = cluster(5);
    leaseOf((await claimed(network, others[0], { inline: true, sizeBytes: 100 })).answer);
    const abort = new AbortController();
    const left = others[1]?.parts.claimer.claim(request({ inline: true, sizeBytes: 100 }), abort.signal);
    await network.queue.run(network.queue.now() + 100);
    abort.abort(new Error('the client left'));
    await expect(left).rejects.toThrow('the client left');
  });
});

describe('a lease', () => {
  test('outlives its keeper: a deputy adopts it', async () => {
    const { network, keeper, deputy, others } = cluster(6);
    const lease = leaseOf((await claimed(network, others[0])).answer);
    network.kill(keeper.name);
    await network.queue.run(8_000);
    expect(lease.lost.aborted).toBe(false);
    expect(deputy.parts.keeper.grants.map(({ grant }) => grant.peerId)).toEqual([others[0]?.member.peerId]);
    expect((await claimed(network, others[1])).answer.kind).toBe('read');
  });

  test('that was passed on is lost at once, not at the next renewal', async () => {
    const { network, others } = cluster(6);
    const lease = leaseOf((await claimed(network, others[0])).answer);
    await claimed(network, others[1]);
    const failed = [{ peerId: others[0]?.member.peerId ?? '', why: 'broken' as const }];
    expect((await claimed(network, others[1], { failed })).answer.kind).toBe('write');
    await network.queue.run(network.queue.now() + 10);
    expect(lease.lost.aborted).toBe(true);
  });

  test('is not ended by an earlier word of ours that is still on its way', async () => {
    const { network, keeper, others } = cluster(5);
    const { handleClaims } = keeper.parts;
    let reports = 0;
    Object.assign(keeper.parts, {
      handleClaims: async (...said: Parameters<typeof handleClaims>) => {
        const [, body] = said;
        if (typeof body === 'object' && body !== null && 'reports' in body) {
          reports += 1;
          if (reports === 1) await new Promise<void>((resolve) => network.queue.after(200, resolve));
        }
        return handleClaims(...said);
      },
    });
    others[0]?.parts.claimer.left(KEY, request().source);
    await network.queue.run(5_000, () => reports === 1);
    const lease = leaseOf((await claimed(network, others[0])).answer);
    await network.queue.run(network.queue.now() + 400);
    expect((await claimed(network, others[1])).answer.kind).toBe('read');
    expect(lease.lost.aborted).toBe(false);
  });

  test('is not ended by an earlier word that a deputy passes on late, as the keeper was silent a moment ago', async () => {
    const { network, keeper, deputy, others } = cluster(5);
    network.suspend(keeper.name, 2_500);
    others[0]?.parts.claimer.left(KEY, request().source);
    await network.queue.run(4_000);
    const { handleClaims } = deputy.parts;
    Object.assign(deputy.parts, {
      handleClaims: async (...said: Parameters<typeof handleClaims>) => {
        if ((said[1] as ClaimsRequest).type === 'reports')
          await new Promise<void>((resolve) => network.queue.after(200, resolve));
        return handleClaims(...said);
      },
    });
    others[0]?.parts.claimer.left(KEY, request().source);
    const lease = leaseOf((await claimed(network, others[0])).answer);
    await network.queue.run(network.queue.now() + 400);
    expect((await claimed(network, others[1])).answer.kind).toBe('read');
    expect(lease.lost.aborted).toBe(false);
  });

  /** Keys whose keepers are all among these, or none of them. */
  function keysOf(agent: SimAgent, those: readonly string[], all: boolean, count: number): string[] {
    const keys: string[] = [];
    for (let i = 0; keys.length < count; i += 1) {
      const key = `blob:sha256:${String(i).padStart(64, '0')}`;
      const names = agent.roster.keepers(key).map(({ nodeName }) => nodeName);
      if (names.includes(agent.name)) continue;
      if (all ? names.every((name) => those.includes(name)) : !names.some((name) => those.includes(name)))
        keys.push(key);
    }
    return keys;
  }

  test('does not wait for the keepers of another key, which are silent', async () => {
    const { network, others } = cluster(12);
    const [writer, ...rest] = others;
    if (writer === undefined) throw new Error('nobody');
    const silent = rest.slice(0, 6).map(({ name }) => name);
    const [key = ''] = keysOf(writer, silent, false, 1);
    const [other = ''] = keysOf(writer, silent, true, 1);
    await claimed(network, writer, { key });
    for (const name of silent) network.suspend(name, 60_000);
    writer.parts.claimer.left(other, request().source);
    let oldestMs = 0;
    for (let passedMs = 0; passedMs < 8_000; passedMs += 500) {
      await network.queue.run(network.queue.now() + 500);
      const { parts } = network.get(writer.roster.keepers(key, 1)[0]?.nodeName ?? '');
      oldestMs = Math.max(oldestMs, ...parts.keeper.grants.map(({ grant }) => network.queue.now() - grant.renewedAtMs));
    }
    expect(oldestMs).toBeLessThan(2_000);
  });

  test('of many keys whose keepers are silent is renewed all the same, and asks each of those behind them once', async () => {
    const { network, others } = cluster(12);
    const [writer, ...rest] = others;
    if (writer === undefined) throw new Error('nobody');
    const silent = rest.slice(0, 6).map(({ name }) => name);
    const keys = keysOf(writer, silent, true, 30);
    for (const key of keys) await claimed(network, writer, { key });
    for (const name of silent) network.suspend(name, 120_000);
    await network.queue.run(network.queue.now() + 12_000);
    network.calls.clear();
    await network.queue.run(network.queue.now() + 5_000);
    const fresh = new Set(
      network.alive().flatMap(({ name, parts }) => {
        if (silent.includes(name)) return [];
        return parts.keeper.grants.flatMap(({ key, grant }) =>
          network.queue.now() - grant.renewedAtMs < 2_500 ? [key] : [],
        );
      }),
    );
    expect([...fresh].sort()).toEqual([...keys].sort());
    expect(network.calls.get('claims recall')).toBeLessThan(12 * 2 * 5 + 1);
  });

  test('is renewed with what the agent gets, what it sends of it, and the most that it could ever send', async () => {
    const { network, keeper, others } = cluster(5, { uplink: (name) => (name === 'node0' ? 0 : 7_000_000) });
    const writer = others.find(({ name }) => name !== 'node0');
    const lease = leaseOf((await claimed(network, writer)).answer);
    await network.queue.run(network.queue.now() + 1_500);
    lease.progress('writing', 4_000_000);
    lease.sent(2_000_000);
    await network.queue.run(network.queue.now() + 1_000);
    const [{ grant } = { grant: undefined }] = keeper.parts.keeper.grants;
    expect([grant?.prefix, grant?.uplink]).toEqual([4_000_000, 7_000_000]);
    expect((grant?.rate ?? 0) / (grant?.output ?? 0)).toBeCloseTo(2);
  });

  test('is renewed in one call a keeper, however many there are', async () => {
    const { network, others } = cluster(4);
    for (let i = 0; i < 50; i += 1) {
      await claimed(network, others[0], { key: `blob:sha256:${String(i).padStart(64, '0')}` });
    }
    network.calls.clear();
    await network.queue.run(network.queue.now() + 10_000);
    expect(network.calls.get('claims reports')).toBeLessThanOrEqual(3 * 10);
  });
});

describe('what one agent knows of uplinks', () => {
  test('is told on by all that hear of it, so that keepers of keys yet to come know it', async () => {
    const { network } = cluster(8, { uplink: (name) => (name === 'node0' ? 7_000_000 : 0) });
    for (let i = 0; i < 12; i += 1) {
      const key = `blob:sha256:${String(i).padStart(64, '0')}`;
      for (const agent of network.alive()) await claimed(network, agent, { key });
    }
    expect(network.alive().map(({ parts }) => parts.rates.carries)).toEqual(Array(8).fill(7_000_000));
  });

  test('is in what a keeper answers', async () => {
    const { network, others } = cluster(8, { uplink: (name) => (name === 'node0' ? 7_000_000 : 0) });
    const asking = others.filter(({ name }) => name !== 'node0');
    await claimed(network, network.get('node0'));
    await claimed(network, asking[0]);
    // Nobody has asked either of them.
    expect(asking.slice(0, 2).map(({ parts }) => parts.rates.carries)).toEqual([7_000_000, undefined]);
  });
});

describe('a partition that has healed', () => {
  test('what the other side fetched is read from there, before its holders have told the keepers of the whole', async () => {
    const { network } = cluster(12);
    const names = network.alive().map(({ name }) => name);
    network.partition(names.slice(0, 6));
    await network.queue.run(network.queue.now() + 3_000);
    const [here, there] = [network.get('node0'), network.get('node11')];
    const keys = Array.from({ length: 40 }, (_, i) => `blob:sha256:${String(i).padStart(64, '0')}`);
    for (const key of keys) {
      expect((await claimed(network, there, { key })).answer.kind).toBe('write');
      there.parts.claimer.held(key, request().source, { sizeBytes: 10_000_000 });
    }
    await network.queue.run(network.queue.now() + 5_000);
    network.heal();
    await network.queue.run(network.queue.now() + 2_000, () => network.agrees);
    // All the keepers of some of them are on this side.
    const keepers = keys.map((key) => here.roster.keepers(key).map(({ nodeName }) => nodeName));
    expect(keepers.some((three) => three.every((name) => names.indexOf(name) < 6))).toBe(true);
    for (const key of keys) expect((await claimed(network, here, { key })).answer.kind, key).toBe('read');
  });

  test.each<[number, boolean]>([
    [28_000, true],
    [31_000, false],
  ])('%d ms later they are still asked: %s', async (ms, areAsked) => {
    const { network } = cluster(12, { newsMs: 0 });
    const names = network.alive().map(({ name }) => name);
    network.partition(names.slice(0, 6));
    await network.queue.run(network.queue.now() + 1_000);
    network.heal();
    await network.queue.run(network.queue.now() + ms);
    // Somebody new changes all views.
    network.restart('node5');
    await network.queue.run(network.queue.now() + 10);
    network.calls.clear();
    await claimed(network, network.get('node0'));
    expect((network.calls.get('claims recall') ?? 0) > 2).toBe(areAsked);
  });

  test('who does not answer is not waited for again, for any key', async () => {
    const { network, keeper } = cluster(12, { newsMs: 0 });
    const back = network
      .alive()
      .filter(({ name }) => name !== keeper.name)
      .slice(-2);
    const [silent] = back;
    if (silent === undefined) throw new Error('nobody');
    network.partition(back.map(({ name }) => name));
    await network.queue.run(network.queue.now() + 1_000);
    network.heal();
    await network.queue.run(network.queue.now() + 1_000);
    network.cut.add(`${keeper.name}>${silent.name}`);
    const keys = Array.from({ length: 200 }, (_, i) => `blob:sha256:${String(i).padStart(64, '0')}`);
    const its = keys.filter((key) => keeper.roster.keepers(key, 1)[0]?.nodeName === keeper.name);
    const far = its.filter(
      (key) => !keeper.roster.keepers(key).some(({ nodeName }) => back.some(({ name }) => name === nodeName)),
    );
    expect(far.length).toBeGreaterThan(1);
    const asked: number[] = [];
    for (const key of far) {
      network.calls.clear();
      await claimed(network, keeper, { key });
      asked.push(network.calls.get('claims recall') ?? 0);
    }
    // Two deputies, and those that are back.
    expect(asked).toEqual([4, ...Array(far.length - 1).fill(3)]);
  });

  test('one that came back far from a key is believed who holds it, not what upstream said of it', async () => {
    const { network, keeper } = cluster(12, { newsMs: 0 });
    const tag = 'tag:docker.io/library/redis:7';
    const order = keeper.roster.keepers(tag, 12).map(({ nodeName }) => nodeName);
    const [keeperOfTag = '', ...rest] = order;
    const liar = network.get(rest.at(-1) ?? '');
    network.partition([liar.name]);
    await network.queue.run(network.queue.now() + 1_000);
    liar.parts.keeper.report(liar.member.peerId, [
      {
        key: tag,
        incarnation: liar.member.incarnation,
        source: request().source,
        state: 'held',
        bytes: Buffer.from('{}').toString('base64'),
        ageMs: 0,
      },
    ]);
    network.heal();
    await network.queue.run(network.queue.now() + 1_000);
    network.calls.clear();
    const { answer } = await claimed(network, network.get(rest[0] ?? ''), {
      key: tag,
      sizeBytes: undefined,
      inline: true,
    });
    expect(network.calls.get('claims recall')).toBe(3);
    expect(answer.kind).toBe('write');
    expect(network.get(keeperOfTag).parts.keeper.grants).toHaveLength(1);
  });

  test('who restarted, or left in order, has nothing to tell of that: nobody but the keepers is asked', async () => {
    const { network, others, keeper, deputy, second } = cluster(9);
    await network.queue.run(40_000);
    const [claimer, ...restarted] = others;
    for (const { name } of restarted) network.restart(name);
    await network.queue.run(network.queue.now() + 2_000, () => network.agrees);
    network.calls.clear();
    await claimed(network, claimer);
    expect(network.calls.get('claims recall')).toBe([deputy, second].length);
    expect(keeper.parts.keeper.grants).toHaveLength(1);
  });
});

describe('what others say', () => {
  const claim = (changes: object = {}): ClaimsRequest => ({
    type: 'claim',
    key: KEY,
    incarnation: 1_000,
    source: 'docker.io/library/redis',
    prefix: 0,
    failed: [],
    inline: false,
    waitMs: 0,
    zone: '',
    ...changes,
  });

  test('a claim is forwarded, recalled, copied or revoked by who keeps its key alone', async () => {
    const { network, keeper } = cluster(12);
    const near = keeper.roster.keepers(KEY, 9).map(({ nodeName }) => nodeName);
    const stranger = network.alive().find(({ name }) => !near.includes(name))?.member.peerId ?? '';
    const denied = [
      claim({ onBehalfOf: peerIdOf('node0') }),
      { type: 'recall', key: KEY },
      { type: 'revoke', key: KEY, grant: 'x' },
    ];
    for (const body of denied) {
      await expect(keeper.parts.handleClaims(stranger, body, signal)).rejects.toThrow('only a keeper');
    }
    const copy = { key: KEY, holders: [stranger], tree: [], failures: [] };
    await keeper.parts.handleClaims(stranger, { type: 'copies', copies: [copy] }, signal);
    expect(keeper.parts.keeper.peek(KEY)).toBeUndefined();
  });

  test('nonsense is refused, and who goes on with it is not answered for a while', async () => {
    const { keeper, others } = cluster(5);
    const from = others[0]?.member.peerId ?? '';
    for (const body of [null, 'x', { type: 'claim' }]) {
      await expect(keeper.parts.handleClaims(from, body, signal)).rejects.toMatchObject({ code: 'PEER_NONSENSE' });
    }
    await expect(keeper.parts.handleClaims(from, claim(), signal)).rejects.toMatchObject({ code: 'PEER_DENIED' });
  });
});

describe('large blobs', () => {
  const LAYERS = ['b', 'c', 'd'].map((letter) => `blob:sha256:${letter.repeat(64)}`);

  /** Claims all layers at once. @returns when each was answered, and how, as it comes. */
  function claimAll({ queue }: ClaimsNetwork, agent: SimAgent | undefined, sizeBytes: number) {
    const answers: { readonly key: string; readonly answer: Claimed; readonly ms: number }[] = [];
    const startMs = queue.now();
    for (const key of LAYERS) {
      void agent?.parts.claimer.claim(request({ key, sizeBytes }), signal).then((answer) => {
        answers.push({ key, answer, ms: queue.now() - startMs });
      });
    }
    return answers;
  }

  const written = (answers: ReturnType<typeof claimAll>) => answers.filter(({ answer }) => answer.kind === 'write');

  test('who is always the first writes one of three layers, and the next ones the others', async () => {
    const { network, others } = cluster(8);
    const pulls: ReturnType<typeof claimAll>[] = [];
    for (const agent of others.slice(0, 3)) {
      pulls.push(claimAll(network, agent, 10_000_000));
      await network.queue.run(network.queue.now() + 100);
    }
    await network.queue.run(network.queue.now() + 1_000);
    expect(pulls.map((answers) => answers.length)).toEqual([3, 3, 3]);
    expect(pulls.map((answers) => written(answers).length)).toEqual([1, 1, 1]);
  });

  test('a reader asks for the next one as soon as it is answered', async () => {
    const { network, others } = cluster(8);
    for (const [i, key] of LAYERS.entries()) await claimed(network, others[i], { key });
    const answers = claimAll(network, others[3], 10_000_000);
    await network.queue.run(network.queue.now() + 1_000);
    expect(answers.map(({ answer }) => answer.kind)).toEqual(['read', 'read', 'read']);
    for (const { ms } of answers) expect(ms).toBeLessThan(50);
  });

  test('who pulls alone writes them all, the others 300 ms later', async () => {
    const { network, others } = cluster(8);
    const answers = claimAll(network, others[0], 10_000_000);
    await network.queue.run(network.queue.now() + 1_000);
    expect(written(answers)).toHaveLength(3);
    const [first, ...later] = answers;
    expect(first?.ms).toBeLessThan(50);
    for (const { ms } of later) expect(ms >= 300 && ms < 400).toBe(true);
  });

  test('or as soon as the first one has come', async () => {
    const { network, others } = cluster(8);
    const [agent] = others;
    const answers = claimAll(network, agent, 10_000_000);
    await network.queue.run(network.queue.now() + 100);
    expect(answers).toHaveLength(1);
    agent?.parts.claimer.held(answers[0]?.key ?? '', 'docker.io/library/redis', { sizeBytes: 10_000_000 });
    await network.queue.run(network.queue.now() + 100);
    expect(written(answers)).toHaveLength(3);
  });

  test('where nobody came for what it yielded it yields no more for five seconds', async () => {
    const { network, others } = cluster(8);
    const [agent] = others;
    claimAll(network, agent, 10_000_000);
    await network.queue.run(network.queue.now() + 1_000);
    const next = `blob:sha256:${'e'.repeat(64)}`;
    expect((await claimed(network, agent, { key: next })).ms).toBeLessThan(50);
    await network.queue.run(network.queue.now() + 5_000);
    const last = `blob:sha256:${'f'.repeat(64)}`;
    expect((await claimed(network, agent, { key: last })).ms).toBeGreaterThanOrEqual(300);
  });

  test('who is strained yields the first one too, and says so in claims and renewals', async () => {
    const { network, others } = cluster(8, { isStrained: (name) => name === strained });
    const [agent, other] = others;
    const strained = agent?.name ?? '';
    const answers = claimAll(network, agent, 10_000_000);
    await network.queue.run(network.queue.now() + 100);
    expect(answers).toEqual([]);
    const [key = ''] = LAYERS;
    expect((await claimed(network, other, { key })).answer.kind).toBe('write');
    await network.queue.run(network.queue.now() + 1_000);
    expect(answers.map(({ answer }) => answer.kind).sort()).toEqual(['read', 'write', 'write']);
    // Its keepers seat nobody below it, from its claim on, and from its renewal on.
    const keeper = network.get(network.keeperOf(key));
    const seat = keeper.parts.keeper.peek(key)?.tree.get(agent?.member.peerId ?? '');
    expect(seat?.isClosed(network.queue.now())).toBe(true);
    const written = answers.find(({ answer }) => answer.kind === 'write')?.key ?? '';
    await network.queue.run(network.queue.now() + 90_000);
    const own = network.get(network.keeperOf(written)).parts.keeper.peek(written);
    expect(own?.tree.get(agent?.member.peerId ?? '')?.isClosed(network.queue.now())).toBe(true);
  });

  test.each([1, 2])('keepers that are silent cost it 50 ms more than another (%d of them)', async (silent) => {
    const first = LAYERS[0] ?? '';
    const cost = async (isStrained: boolean) => {
      const { network, others } = cluster(9, { suspectMs: 60_000, isStrained: () => isStrained });
      const agent = others.find(({ name }) =>
        network
          .get(name)
          .roster.keepers(first, 3)
          .every((one) => one.nodeName !== name),
      );
      const keepers = agent?.roster.keepers(first, silent) ?? [];
      for (const { nodeName } of keepers) network.suspend(nodeName, 60_000);
      return (await claimed(network, agent, { key: first })).ms;
    };
    expect(await cost(true)).toBeLessThan((await cost(false)) + 100);
  });

  test('the small ones wait for nothing, nor does anything in a cluster of one', async () => {
    const { network, others } = cluster(8);
    await claimed(network, others[0]);
    const small = claimAll(network, others[0], 8 * 1024 * 1024 - 1);
    await network.queue.run(network.queue.now() + 1_000);
    expect(written(small)).toHaveLength(3);
    const lone = new ClaimsNetwork({ seed: 3 });
    lone.start(['alone']);
    const large = claimAll(lone, lone.get('alone'), 10_000_000);
    await lone.queue.run(lone.queue.now() + 1_000);
    expect(written(large)).toHaveLength(3);
    for (const { ms } of [...small, ...large]) expect(ms).toBeLessThan(50);
  });
});
