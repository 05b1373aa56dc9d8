import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { InProcessAgents } from '../support/in-process-agents.ts';
import { Scratch } from '../support/scratch.ts';

/** Sixty take 200 s of two cores: `npm run test:lab` has them. How much each costs is in test/bench/sixty-agents.ts. */
const AGENTS = process.env.LAB_NODES === undefined ? 30 : 60;
const FEW = 15;
const PROCESSES = AGENTS / FEW;
const BLOBS_EACH = 2_000;
const KEYS = 200;
const LOOKUPS_EACH = 50;
const TURNS = 5;
const MAX_CONNECTIONS = 30;
const WINDOW_MS = 20_000;
/** Twice as many agents are twice as many for each to look after, if it looks after all. */
const GROWTH = 1.5;

describe(`${AGENTS} agents with ${BLOBS_EACH} blobs each`, () => {
  let scratch: Scratch;
  let crowd: InProcessAgents;
  /** What each of fifteen asks of others while nothing is pulled. */
  let few: { readonly calls: number; readonly bytes: number };

  beforeAll(async () => {
    scratch = await Scratch.create();
    const small = await InProcessAgents.start(scratch, { agents: FEW, processes: 1, blobsEach: BLOBS_EACH });
    await small.settled();
    // The index is still being compared.
    await idleWindow(small);
    await idleWindow(small);
    few = await idleWindow(small);
    await small.stop();
    crowd = await InProcessAgents.start(scratch, { agents: AGENTS, processes: PROCESSES, blobsEach: BLOBS_EACH });
    await crowd.settled();
  });
  afterAll(() => scratch?.dispose());

  it('agree on the keepers of every key', async () => {
    const keys = Array.from({ length: KEYS }, () => `blob:sha256:${randomBytes(32).toString('hex')}`);
    // A machine that stood still may have taken somebody for dead a moment ago.
    await eventually(
      async () => {
        const views = await crowd.keepers(keys);
        expect(views).toHaveLength(AGENTS);
        expect(new Set(views.map((view) => view.join('\n'))).size).toBe(1);
        return true;
      },
      { timeoutMs: 120_000, everyMs: 500 },
    );
  });

  it('find a holder of whatever they look up, at the first try: the one that has it', async () => {
    const peerIds = new Map((await crowd.states()).map(({ number, peerId }) => [number, peerId]));
    const rosters = async () => (await crowd.states()).map(({ rosterChangedAtMs }) => rosterChangedAtMs);
    const missesOf = async () => {
      const results = await crowd.lookups(LOOKUPS_EACH);
      expect(results).toHaveLength(AGENTS * LOOKUPS_EACH);
      return results.filter(({ holder, holders }) => holders.join() !== peerIds.get(holder));
    };
    for (let turn = 1; ; turn += 1) {
      // Holders tell new keepers of theirs some seconds after the roster has changed.
      await eventually(async () => (await missesOf()).length === 0, { timeoutMs: 120_000, everyMs: 1_000 });
      const before = await rosters();
      const misses = await missesOf();
      // Somebody stood still on a busy machine, and was taken for dead: all over again.
      if (misses.length > 0 && turn < TURNS && (await rosters()).join() !== before.join()) continue;
      expect(misses).toEqual([]);
      return;
    }
  }, 600_000);

  it(`have at most ${MAX_CONNECTIONS} libp2p connections each`, async () => {
    const connections = (await crowd.states()).map((state) => state.connections);
    expect(connections.filter((count) => count < 1 || count > MAX_CONNECTIONS)).toEqual([]);
  });

  it(`ask no more of each other while nothing is pulled than ${FEW} do, and send no more over each connection`, async () => {
    let last = few;
    // What is compared once more after the start ends.
    await eventually(
      async () => {
        last = await idleWindow(crowd);
        return last.calls < GROWTH * few.calls && last.bytes < GROWTH * few.bytes;
      },
      { timeoutMs: 300_000, what: () => `${JSON.stringify(last)} to be little more than ${JSON.stringify(few)}` },
    );
  }, 400_000);
});

/** @returns calls an agent, and libp2p's and their bytes a connection, in some seconds. */
async function idleWindow(crowd: InProcessAgents): Promise<{ readonly calls: number; readonly bytes: number }> {
  const sum = async (of: 'acceptedBytes' | 'calls') => (await crowd.usage()).reduce((all, usage) => all + usage[of], 0);
  const [calls, bytes] = [await sum('calls'), await sum('acceptedBytes')];
  await sleep(WINDOW_MS);
  const [callsSince, bytesSince] = [(await sum('calls')) - calls, (await sum('acceptedBytes')) - bytes];
  const states = await crowd.states();
  const connections = states.reduce((all, state) => all + state.connections, 0);
  return { calls: callsSince / states.length, bytes: bytesSince / connections };
}
