import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf, seededBytes } from '../support/image.ts';
import { pushBlob } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const CLIENTS = 64;
const BLOB_BYTES = 200 * 1024 * 1024;
const MAX_RSS_BYTES = 256 * 1024 * 1024;

describeWith('64 clients at once', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let agent: AgentProcess;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    agent = await AgentProcess.start(scratch, {
      registries: { 'docker.io': registry.url },
      settings: { log: { level: 'info' } },
    });
  });
  afterAll(() => scratch?.dispose());

  it('get the right bytes of a never-seen 200 MiB blob from one upstream GET, in under 256 MiB of memory', async () => {
    const bytes = seededBytes('many clients', BLOB_BYTES);
    const digest = digestOf(bytes);
    await pushBlob(registry.url, 'library/big', { digest, bytes });
    await registry.forget();

    const results = await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        let wrong = 0;
        let received = 0;
        const answer = await httpGet(`${agent.mirrorUrl}/v2/library/big/blobs/${digest}?ns=docker.io`, {
          onBytes: (part, position) => {
            received += part.length;
            if (!part.equals(bytes.subarray(position, position + part.length))) wrong += 1;
          },
        });
        return { status: answer.status, end: answer.end, received, wrong };
      }),
    );

    const whole = { status: 200, end: 'whole', received: BLOB_BYTES, wrong: 0 };
    expect(results).toEqual(Array.from({ length: CLIENTS }, () => whole));
    expect(await registry.counts()).toEqual({ [`GET blob ${digest}`]: 1 });
    expect(await registry.sentBytes()).toBe(BLOB_BYTES);
    const { peakRssBytes } = await agent.memory();
    expect(peakRssBytes).toBeLessThan(MAX_RSS_BYTES);
    expect(await agent.metric('windlass_mirror_response_bytes_total', { source: 'ingest' })).toBe(63 * BLOB_BYTES);
    expect(await agent.metric('windlass_upstream_received_bytes_total')).toBe(BLOB_BYTES);
  });
});
