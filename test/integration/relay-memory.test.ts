import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hasCode } from '../../src/errors.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { PeerClient } from '../../src/peer/peer-client.ts';
import type { Parent } from '../../src/pull/claims/messages.ts';
import { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import { loadIdentity } from '../../src/routing/identity.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf, seededBytes } from '../support/image.ts';
import { pushBlob } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MIB = 1024 * 1024;
const BLOBS = 16;
/** Two, and one more: it imports into a zone. */
const CHILDREN = 3;
const MAX_RSS_BYTES = 256 * MIB;
/** Machines may be busy. */
const LONG = { timeoutMs: 120_000 };
const LOG = pino({ level: 'silent' });

describeWith(`an agent that relays ${BLOBS} blobs to ${CHILDREN} children each`, [RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
  });
  afterAll(async () => {
    resume();
    await scratch?.dispose();
  });

  // A machine with other work to do is no reason to leave a parent.
  const patient = {
    mirror: { headersTimeout: '5m', writeTimeout: '5m' },
    upstream: { headersTimeout: '5m', stallTimeout: '5m' },
    peer: { maxUploads: BLOBS * CHILDREN, firstByteTimeout: '1m', stallTimeout: '1m', connectTimeout: '1m' },
    log: { level: 'info' },
  };

  function resume(): void {
    if (registry?.daemon.ended === false) process.kill(registry.pid, 'SIGCONT');
  }

  async function publish(sizeBytes: number): Promise<Digest[]> {
    const bytes = seededBytes(`relayed ${sizeBytes}`, sizeBytes);
    const digests: Digest[] = [];
    for (let blob = 0; blob < BLOBS; blob += 1) {
      bytes.writeUInt32BE(blob);
      const digest = digestOf(bytes);
      await pushBlob(registry.url, 'library/relayed', { digest, bytes });
      digests.push(digest);
    }
    return digests;
  }

  async function child(cluster: AgentCluster): Promise<PeerClient> {
    const storePath = scratch.join(`child-${randomBytes(4).toString('hex')}`);
    const identity = await loadIdentity({ storePath, nodeName: 'child', logger: LOG });
    const secrets = new ClusterSecrets({ files: [cluster.secretFile], logger: LOG });
    await secrets.load();
    const minute = 60_000;
    const bounds = { connectTimeoutMs: minute, firstByteTimeoutMs: minute, stallTimeoutMs: minute };
    const client = new PeerClient({
      encryption: 'tls',
      identity,
      secrets,
      logger: LOG,
      metrics: new Metrics(),
      ...bounds,
    });
    scratch.defer(() => client.close());
    return client;
  }

  /** As an agent would do: ask again. */
  function declined(error: unknown): false {
    if (hasCode(error, 'PEER_MISSING', 'PEER_BUSY', 'PEER_FAILED')) return false;
    throw error;
  }

  async function onlyPeerOf(agent: AgentProcess): Promise<Parent> {
    const status = (await (await fetch(`${agent.statusUrl}/status`)).json()) as { peers: Omit<Parent, 'role'>[] };
    const [peer] = status.peers;
    if (peer === undefined) throw new Error('the agent knows nobody');
    return { peerId: peer.peerId, dataAddress: peer.dataAddress, role: 'relay' };
  }

  /** Reads all of a blob from the relay, and drops it. @returns its bytes */
  async function read(client: PeerClient, relay: Parent, digest: Digest, onOpen: () => void): Promise<number> {
    const { signal } = new AbortController();
    let offset = 0;
    const readOn = async () => {
      const stream = await client.open(relay, digest, { offset, signal });
      onOpen();
      for await (const event of stream.events) if (event.type === 'piece') offset += event.piece.bytes.length;
      return true;
    };
    // Until the relay has the ingest; and again where it changed its own source meanwhile.
    await eventually(() => readOn().catch(declined), { timeoutMs: 600_000, everyMs: 100 });
    return offset;
  }

  /** @returns the most memory that the relay ever had. */
  async function relayAll(sizeBytes: number): Promise<number> {
    const digests = await publish(sizeBytes);
    await registry.forget();
    const cluster = await AgentCluster.start(scratch, {
      agents: 2,
      registries: { 'docker.io': registry.url },
      settings: patient,
      // The writer's: two cores shall have time for calls as well.
      settingsOf: (index) => (index === 0 ? { peer: { ...patient.peer, uploadRate: '64MiB' } } : {}),
    });
    const [writer, relay] = cluster.agents as [AgentProcess, AgentProcess];
    const get = (agent: AgentProcess, digest: Digest) =>
      httpGet(`${agent.mirrorUrl}/v2/library/relayed/blobs/${digest}?ns=docker.io`, { onBytes: () => {} });
    // Upstream says nothing until all are in their places.
    process.kill(registry.pid, 'SIGSTOP');
    const pulls = digests.map((digest) => get(writer, digest));
    await eventually(async () => (await writer.metric('windlass_ingests_running')) === BLOBS, LONG);
    await eventually(async () => (await writer.metric('windlass_claims_total')) >= BLOBS, LONG);
    pulls.push(...digests.map((digest) => get(relay, digest)));
    await eventually(async () => (await writer.metric('windlass_peer_uploads_running')) === BLOBS, {
      ...LONG,
      what: () => `the relay to read from the writer; it said:\n${relay.daemon.tail()}`,
    });
    const parent = await onlyPeerOf(writer);
    const opened = new Set<string>();
    const children = await Promise.all(Array.from({ length: CHILDREN }, () => child(cluster)));
    const reads = children.flatMap((client, nth) =>
      digests.map((digest) => read(client, parent, digest, () => opened.add(`${nth} ${digest}`))),
    );
    const all = Promise.all([...reads, ...pulls.map(async (pull) => (await pull).end)]);
    await Promise.race([all, eventually(() => opened.size === reads.length, LONG)]);
    resume();
    const results = await all;
    expect(results.slice(0, reads.length)).toEqual(reads.map(() => sizeBytes));
    expect(results.slice(reads.length)).toEqual(pulls.map(() => 'whole'));
    // All of it went through the relay.
    expect(await relay.metric('windlass_peer_sent_bytes_total')).toBeGreaterThanOrEqual(CHILDREN * BLOBS * sizeBytes);
    const { peakRssBytes } = await relay.memory();
    // All but what it asked for itself where a busy machine kept the writer, as its keeper, silent.
    expect(await relay.metric('windlass_upstream_received_bytes_total')).toBeLessThan((BLOBS * sizeBytes) / 10);
    await Promise.all(cluster.agents.map((agent) => agent.stop()));
    return peakRssBytes;
  }

  it('takes less than 256 MiB, and no more for large blobs than for small ones', async () => {
    const small = await relayAll(32 * MIB);
    const large = await relayAll(128 * MIB);
    expect(large).toBeLessThan(MAX_RSS_BYTES);
    // Memory that followed the blobs' size would differ by 16 × 96 MiB.
    expect(large - small).toBeLessThan(64 * MIB);
  }, 900_000);
});
