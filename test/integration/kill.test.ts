import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf, seededBytes } from '../support/image.ts';
import { pushBlob } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const KILLS = 50;
const MIB = 1024 * 1024;
const BLOBS = 24;
/** A third of all the blobs, so that commits evict. */
const QUOTA_MIB = 24;

describeWith(`kill -9, ${KILLS} times, during pulls with commits and evictions`, [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let proxy: TcpProxy;
  let agent: AgentProcess;
  const blobs = Array.from({ length: BLOBS }, (_, i) => {
    const bytes = seededBytes(`kill ${i}`, Math.round(((i % 6) + 0.5) * MIB));
    return { bytes, digest: digestOf(bytes) };
  });

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    for (const blob of blobs) await pushBlob(registry.url, 'library/kill', blob);
    proxy = await TcpProxy.start(scratch, { port: registry.port });
    proxy.rateBytesPerSecond = 60 * MIB;
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': proxy.url },
      settings: { store: { maxSize: `${QUOTA_MIB}MiB` }, log: { level: 'warn' } },
    });
  });
  afterAll(() => scratch?.dispose());

  const url = (digest: string) => `${agent.mirrorUrl}/v2/library/kill/blobs/${digest}`;

  /** Every file below blobs/ has the digest that its name says; their sizes, summed. */
  async function checkDisk(): Promise<{ count: number; bytes: number }> {
    const root = join(agent.storePath, 'blobs', 'sha256');
    let count = 0;
    let bytes = 0;
    for (const folder of await readdir(root)) {
      for (const name of await readdir(join(root, folder))) {
        const content = await readFile(join(root, folder, name));
        expect(digestOf(content)).toBe(`sha256:${name}`);
        count += 1;
        bytes += content.length;
      }
    }
    return { count, bytes };
  }

  async function partialBytes(): Promise<number> {
    const root = join(agent.storePath, 'ingests');
    let bytes = 0;
    for (const name of await readdir(root)) {
      if (/[0-9a-f]{64}/.test(name)) bytes += (await stat(join(root, name))).size;
    }
    return bytes;
  }

  it('leaves nothing that is wrong, nothing for ever, and right sums', async () => {
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    let resumed = 0;
    for (let round = 0; round < KILLS; round += 1) {
      const from = proxy.downBytes;
      // Clients keep pulling whatever they like until the agent dies.
      let dead = false;
      const clients = Array.from({ length: 4 }, async () => {
        while (!dead) {
          const blob = blobs[Math.floor(random() * blobs.length)];
          if (blob === undefined) throw new Error('no blob');
          const answer = await httpGet(url(blob.digest)).catch(() => undefined);
          // What comes whole is right, also in the agent's last moment.
          if (answer?.end === 'whole' && answer.status === 200) expect(answer.bytes.equals(blob.bytes)).toBe(true);
        }
      });
      await proxy.passed(from + Math.round((0.5 + random() * 12) * MIB));
      resumed += await agent.metric('windlass_ingest_resumes_total', { reason: 'restart' });
      await agent.kill('SIGKILL');
      dead = true;
      await Promise.all(clients);

      const onDisk = await checkDisk();
      await agent.start();
      // Size accounting against the files themselves. A scrub or a sweep may run, but nobody pulls.
      expect(await agent.metric('windlass_store_blobs')).toBe(onDisk.count);
      expect(await agent.metric('windlass_store_bytes')).toBe(onDisk.bytes);
      expect(await agent.metric('windlass_store_ingest_bytes')).toBe(await partialBytes());
      expect(onDisk.bytes).toBeLessThanOrEqual(QUOTA_MIB * MIB);
      for (const name of await readdir(join(agent.storePath, 'blobs', 'sha256'))) expect(name).toMatch(/^[0-9a-f]{2}$/);
    }

    // Each is served whole in the end, unfinished files are used up or swept, and the sums still hold.
    proxy.rateBytesPerSecond = undefined;
    for (const { digest, bytes } of blobs) {
      const answer = await httpGet(url(digest));
      expect(answer).toMatchObject({ status: 200, end: 'whole' });
      expect(answer.bytes.equals(bytes)).toBe(true);
    }
    resumed += await agent.metric('windlass_ingest_resumes_total', { reason: 'restart' });
    await eventually(async () => (await agent.metric('windlass_ingests_running')) === 0);
    expect(await partialBytes()).toBe(0);
    const onDisk = await checkDisk();
    expect(await agent.metric('windlass_store_bytes')).toBe(onDisk.bytes);
    expect(await agent.metric('windlass_store_ingest_bytes')).toBe(0);
    expect(resumed).toBeGreaterThan(0);
  }, 600_000);
});
