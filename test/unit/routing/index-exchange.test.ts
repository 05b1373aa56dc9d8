import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { IndexExchange } from '../../../src/routing/index-exchange.ts';
import { KeeperIndex } from '../../../src/routing/keeper-index.ts';
import { MemoryRoster } from '../../../src/routing/memory-roster.ts';
import { systemTimers } from '../../../src/time/timers.ts';
import { memberNamed } from '../../support/member-named.ts';
import { MemoryCalls } from '../../support/memory-calls.ts';

describe('a member that names very many digests', () => {
  it('keeps no other call waiting: they are looked at a few at a time', async () => {
    const others = Array.from({ length: 50 }, (_, index) => memberNamed(`agent-number-${index}`));
    const roster = new MemoryRoster(memberNamed('this-agent-itself'), others, { timers: systemTimers });
    const index = new KeeperIndex({ isLive: () => true, timers: systemTimers });
    const exchange = new IndexExchange({ roster, index, calls: new MemoryCalls().join('this-agent-itself', {}) });
    let turns = 0;
    const turn = () => {
      turns += 1;
      running = setImmediate(turn);
    };
    let running = setImmediate(turn);
    const turnsDuring = async (body: unknown) => {
      turns = 0;
      await exchange.handle('agent-number-1', body);
      return turns;
    };
    try {
      const none = { sha256: '', others: [] };
      // The same digests each time: how many of them fall to this agent is the same then.
      const digests = Array.from({ length: 40_000 }, (_, index) => createHash('sha256').update(`${index}`).digest());
      const add = { sha256: Buffer.concat(digests).toString('base64'), others: [] };
      const announce = { type: 'announce', full: true, add, remove: none, tags: [] };
      expect(await turnsDuring(announce)).toBeGreaterThan(60);
      expect(index.entries).toBeGreaterThan(2_000);
      expect(await turnsDuring({ type: 'confirm', count: 1, checksum: 'x' })).toBeGreaterThan(1);
      expect(await turnsDuring({ type: 'range' })).toBeGreaterThan(1);
    } finally {
      clearImmediate(running);
    }
  });
});

describe('what is handed over', () => {
  it('does not bring back a holder that said here that it holds it no more', async () => {
    const others = [memberNamed('agent-number-1'), memberNamed('agent-number-2')];
    const roster = new MemoryRoster(memberNamed('this-agent-itself'), others, { timers: systemTimers });
    const index = new KeeperIndex({ isLive: () => true, timers: systemTimers });
    const exchange = new IndexExchange({ roster, index, calls: new MemoryCalls().join('this-agent-itself', {}) });
    const digests = { sha256: randomBytes(32 * 2).toString('base64'), others: [] };
    const none = { sha256: '', others: [] };
    const withdrawal = { type: 'announce', full: false, add: none, remove: digests, tags: [] };
    const handover = {
      type: 'handover',
      entries: ['agent-number-1', 'agent-number-2'].map((peerId) => ({ peerId, digests })),
      tags: [],
    };

    await exchange.handle('agent-number-2', withdrawal);
    await exchange.handle('agent-number-1', handover);

    expect([index.keysOf('agent-number-1').length, index.keysOf('agent-number-2').length]).toEqual([2, 0]);
  });
});
