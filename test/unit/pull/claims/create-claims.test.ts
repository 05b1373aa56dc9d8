import { createHash } from 'node:crypto';
import pino from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { Metrics } from '../../../../src/metrics/metrics.ts';
import type { Claimed, ClaimRequest } from '../../../../src/pull/claims/claims.ts';
import { type ClaimsParts, createClaims } from '../../../../src/pull/claims/create-claims.ts';
import { KeeperIndex } from '../../../../src/routing/keeper-index.ts';
import { type Member, WIRE_VERSION } from '../../../../src/routing/member.ts';
import { MemoryRoster } from '../../../../src/routing/memory-roster.ts';
import { systemTimers } from '../../../../src/time/timers.ts';
import { MemoryCalls } from '../../../support/memory-calls.ts';

const signal = new AbortController().signal;
const SMALL = new TextEncoder().encode('a small blob');
const KEY = `blob:sha256:${createHash('sha256').update(SMALL).digest('hex')}`;

const member = (name: string): Member => ({
  peerId: `the-peer-of-${name}`,
  incarnation: 1,
  sequence: 1,
  nodeName: name,
  zone: '',
  dataAddress: `${name}:5051`,
  p2pAddresses: [],
  wireVersion: WIRE_VERSION,
  leaving: false,
});

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

let running: ClaimsParts[] = [];
afterEach(async () => {
  await Promise.all(running.map((parts) => parts.stop()));
  running = [];
});

function cluster(...names: string[]): { calls: MemoryCalls; agents: ClaimsParts[] } {
  const calls = new MemoryCalls();
  const members = names.map(member);
  const agents = members.map((self) => {
    const roster = new MemoryRoster(self, members, { timers: systemTimers });
    const parts: ClaimsParts = createClaims({
      roster,
      calls: calls.join(self.peerId, { claims: (from, body, given) => parts.handleClaims(from, body, given) }),
      index: new KeeperIndex({ isLive: (peerId) => roster.isLive(peerId), timers: systemTimers }),
      logger: pino({ level: 'silent' }),
      metrics: new Metrics(),
    });
    return parts;
  });
  running = agents;
  return { calls, agents };
}

function writing(claimed: Claimed) {
  if (claimed.kind !== 'write') throw new Error(`not granted: ${claimed.kind}`);
  return claimed.lease;
}

describe('claims of agents that call each other', () => {
  test('alone, a claim is a function call', async () => {
    const { calls, agents } = cluster('a');
    const [a] = agents;
    const lease = writing((await a?.claimer.claim(request(), signal)) as Claimed);
    expect(lease.lost.aborted).toBe(false);
    expect(calls.log).toEqual([]);
  });

  test('of five that ask at once one writes, the others read from it or from each other', async () => {
    const { agents } = cluster('a', 'b', 'c', 'd', 'e');
    const claimed = await Promise.all(agents.map(({ claimer }) => claimer.claim(request(), signal)));
    expect(claimed.map(({ kind }) => kind).sort()).toEqual(['read', 'read', 'read', 'read', 'write']);
  });

  test('who asks for a small blob meanwhile gets its bytes as soon as they are there', async () => {
    const { agents } = cluster('a', 'b', 'c');
    const inline = request({ inline: true, sizeBytes: SMALL.length });
    const [a, b, c] = agents;
    if (a === undefined || b === undefined || c === undefined) throw new Error('three agents');
    const lease = writing(await a.claimer.claim(inline, signal));
    const others = Promise.all([b.claimer.claim(inline, signal), c.claimer.claim(inline, signal)]);
    expect(lease.lost.aborted).toBe(false);
    a.claimer.held(KEY, inline.source, { sizeBytes: SMALL.length, bytes: SMALL });
    for (const claimed of await others) {
      expect(claimed.kind === 'bytes' && Buffer.from(claimed.bytes).toString()).toBe('a small blob');
    }
  });

  test('who answers claims with nonsense is left out, and named', async () => {
    const { calls, agents } = cluster('a', 'b');
    const [a] = agents;
    if (a === undefined) throw new Error('two agents');
    const { peerId } = member('b');
    calls.join(peerId, { claims: async () => ({ kind: 'banana' }) });
    expect(a.leftOut()).toEqual([]);
    // Some of them fall to b.
    for (let at = 0; at < 10; at += 1) await a.claimer.claim(request({ key: `blob:sha256:${at}` }), signal);
    expect(calls.count(`→ ${peerId} claims claim`)).toBe(1);
    expect(a.leftOut()).toEqual([peerId]);
  });

  test('so is who says nonsense for the third time', async () => {
    const { agents } = cluster('a', 'b');
    const [a] = agents;
    if (a === undefined) throw new Error('two agents');
    const { peerId } = member('b');
    const nonsense = () => a.handleClaims(peerId, { type: 'banana' }, signal);
    for (let at = 0; at < 3; at += 1) {
      expect(a.leftOut()).toEqual([]);
      await expect(nonsense()).rejects.toMatchObject({ code: 'PEER_NONSENSE' });
    }
    expect(a.leftOut()).toEqual([peerId]);
    await expect(nonsense()).rejects.toMatchObject({ code: 'PEER_DENIED' });
  });
});
