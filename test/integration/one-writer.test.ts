import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { httpGet } from '../support/http-get.ts';
import { buildImage, type Image, type ImageBlob } from '../support/image.ts';
import { ProxiedAgents } from '../support/proxied-agents.ts';
import { pullImage } from '../support/pull-image.ts';
import { pushImage } from '../support/push.ts';
import { type LoggedRequest, RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const FROZEN_AT_BYTES = 8 * MIB;

describeWith('three agents, and the connection of the one that writes', [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let agents: ProxiedAgents;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    // What frees a writer whose connection is frozen are the others, and not its own patience.
    agents = await ProxiedAgents.start(scratch, registry, {
      agents: 3,
      settings: { upstream: { stallTimeout: '5m' } },
    });
  });
  beforeEach(() => registry.forget());
  afterEach(() => agents.mend());
  afterAll(() => scratch?.dispose());

  async function publish(repository: string, layerBytes: number): Promise<{ image: Image; layer: ImageBlob }> {
    const image = buildImage({ seed: repository, layerBytes: [layerBytes], gzip: false });
    await pushImage(registry.url, repository, 'v1', image);
    await registry.forget();
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('a layer was asked for');
    return { image, layer };
  }

  /** In the order in which they ended. */
  async function getsOf({ digest }: ImageBlob): Promise<LoggedRequest[]> {
    const requests = await registry.requests();
    return requests.filter(({ method, path }) => method === 'GET' && path.endsWith(digest));
  }

  it('freezes while the agent renews: one other goes on from there, and all finish', async () => {
    const { cluster, uplink } = agents;
    const repository = 'library/frozen';
    const { image, layer } = await publish(repository, 32 * MIB);
    const sentBefore = uplink.downBytes;
    uplink.freezeAfter(FROZEN_AT_BYTES);

    const pulls = await Promise.all(cluster.agents.map((agent) => pullImage(agent, repository, 'v1', image)));

    // All of it without that connection, which is frozen still.
    expect(pulls.flatMap(({ faults }) => faults)).toEqual([]);
    expect((uplink.downBytes - sentBefore) / image.totalBytes).toBeLessThanOrEqual(1.1);
    expect(await cluster.metric('windlass_takeovers_total', { reason: 'stalled' })).toBeGreaterThan(0);
    for (const reason of ['broken', 'silent']) {
      expect([reason, await cluster.metric('windlass_takeovers_total', { reason })]).toEqual([reason, 0]);
    }
    uplink.resume();
    await expect.poll(async () => (await getsOf(layer)).map(({ status }) => status).sort()).toEqual([200, 206]);
  });

  /** The first agent is writing a layer and cannot get on, the second knows its manifest. */
  async function writing(repository: string) {
    const { cluster, uplink } = agents;
    const { image, layer } = await publish(repository, 96 * MIB);
    uplink.freezeAfter(FROZEN_AT_BYTES);
    const pull = pullImage(cluster.agent(0), repository, 'v1', image);
    await agents.underWay(layer.digest, FROZEN_AT_BYTES - MIB, [0]);
    const base = `${cluster.agent(1).mirrorUrl}/v2/${repository}`;
    expect((await httpGet(`${base}/manifests/${image.manifest.digest}`)).status).toBe(200);
    return { layer, pull, url: `${base}/blobs/${layer.digest}` };
  }

  it('is behind the ranges that containerd asks another agent for in parallel: they wait, upstream is asked once', async () => {
    const { layer, pull, url } = await writing('library/parallel');
    const starts = [0, 32 * MIB, 64 * MIB, 95 * MIB];
    // All of them are open-ended; containerd leaves each where the next one begins.
    const answers = await Promise.all(starts.map((start) => fetch(url, { headers: { range: `bytes=${start}-` } })));
    expect(answers.map(({ status }) => status)).toEqual(starts.map(() => 206));
    expect(answers.map(({ headers }) => headers.get('content-range'))).toEqual(
      starts.map((start) => `bytes ${start}-${layer.bytes.length - 1}/${layer.bytes.length}`),
    );
    agents.uplink.resume();

    const ends = [...starts.slice(1), layer.bytes.length];
    const parts = await Promise.all(
      answers.map((answer, nth) => readSome(answer, (ends[nth] ?? 0) - (starts[nth] ?? 0))),
    );

    expect(Buffer.concat(parts).equals(layer.bytes)).toBe(true);
    expect((await pull).faults).toEqual([]);
    expect((await getsOf(layer)).map(({ status }) => status)).toEqual([200]);
    expect(await agents.cluster.metric('windlass_ingest_ranged_requests_total')).toBe(0);
  });

  it('is far behind a small range that says where it ends: upstream is asked for that range alone', async () => {
    const { layer, pull, url } = await writing('library/lazy');
    const [start, end] = [90 * MIB, 91 * MIB];

    const answer = await httpGet(url, { headers: { range: `bytes=${start}-${end - 1}` } });

    expect(answer).toMatchObject({ status: 206, end: 'whole' });
    expect(answer.bytes.equals(layer.bytes.subarray(start, end))).toBe(true);
    agents.uplink.resume();
    expect((await pull).faults).toEqual([]);
    expect((await getsOf(layer)).map(({ status, bytes }) => [status, bytes])).toEqual([
      [206, end - start],
      [200, layer.bytes.length],
    ]);
    expect(await agents.cluster.agent(1).metric('windlass_ingest_ranged_requests_total')).toBe(1);
  });
});

/** The first bytes of a body, whose connection is then closed. */
async function readSome(answer: Response, wanted: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  if (answer.body === null) throw new Error('no body');
  for await (const part of answer.body) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= wanted) break;
  }
  return Buffer.concat(parts).subarray(0, wanted);
}
