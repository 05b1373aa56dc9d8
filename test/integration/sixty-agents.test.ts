import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { InProcessAgents } from '../support/in-process-agents.ts';
import { Scratch } from '../support/scratch.ts';

/** Sixty take 200 s of two cores: `npm run test:lab` has them. How much each costs is in test/bench/sixty-agents.ts. */
const AGENTS = process.env.LAB_NODES === undefined ? 30 : 60;
const PROCESSES = AGENTS / 15;
const BLOBS_EACH = 2_000;
const KEYS = 200;
const LOOKUPS_EACH = 50;
const MAX_CONNECTIONS = 30;

describe(`${AGENTS} agents with ${BLOBS_EACH} blobs each`, () => {
  let scratch: Scratch;
  let crowd: InProcessAgents;

  beforeAll(async () => {
    scratch = await Scratch.create();
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

  it('find a holder of whatever they look up: the one that has it', async () => {
    const peerIds = new Map((await crowd.states()).map(({ number, peerId }) => [number, peerId]));
    let left = await crowd.lookups(LOOKUPS_EACH);
    expect(left).toHaveLength(AGENTS * LOOKUPS_EACH);
    await eventually(
      async () => {
        left = left.filter(({ holder, holders }) => holders.join() !== peerIds.get(holder));
        if (left.length === 0) return true;
        left = await crowd.again(left);
        return false;
      },
      { timeoutMs: 120_000, everyMs: 500, what: () => `${left.length} lookups to find the holder` },
    );
  });

  it(`have at most ${MAX_CONNECTIONS} libp2p connections each`, async () => {
    const connections = (await crowd.states()).map((state) => state.connections);
    expect(connections.filter((count) => count < 1 || count > MAX_CONNECTIONS)).toEqual([]);
  });
});
