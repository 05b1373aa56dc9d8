import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { Scratch } from '../support/scratch.ts';

const BLOBS = 100_000;
const MAX_RSS_BYTES = 200 * 1024 * 1024;

describe('a store of 100,000 small blobs', () => {
  let scratch: Scratch;
  let agent: AgentProcess;
  const contentOf = (i: number) => Buffer.from(`blob ${i}`);
  const hexOf = (i: number) => createHash('sha256').update(contentOf(i)).digest('hex');

  beforeAll(async () => {
    scratch = await Scratch.create();
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': 'http://registry.invalid' },
      settings: { store: { scrubRate: '1GiB' } },
    });
    await agent.stop();
    const root = join(agent.storePath, 'blobs', 'sha256');
    const folders = new Set<string>();
    for (let i = 0; i < BLOBS; i += 1) {
      const hex = hexOf(i);
      const folder = join(root, hex.slice(0, 2));
      if (!folders.has(folder)) mkdirSync(folder, { recursive: true });
      folders.add(folder);
      writeFileSync(join(folder, hex), contentOf(i));
    }
    await agent.start();
  });
  afterAll(() => scratch?.dispose());

  it('is found again, served and scrubbed in less than 200 MiB of memory', async () => {
    expect(await agent.metric('windlass_store_blobs')).toBe(BLOBS);
    for (let i = 0; i < BLOBS; i += 501) {
      const answer = await httpGet(`${agent.mirrorUrl}/v2/library/x/blobs/sha256:${hexOf(i)}`);
      expect(answer.bytes.equals(contentOf(i))).toBe(true);
    }
    // With the scrub's thread at work.
    await eventually(async () => (await agent.metric('windlass_store_scrubbed_bytes_total')) > 0, {
      timeoutMs: 60_000,
    });
    const { peakRssBytes } = await agent.memory();
    expect(peakRssBytes).toBeLessThan(MAX_RSS_BYTES);
  });
});
