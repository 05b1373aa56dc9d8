/**
 * Several agents in one process, for tests with more agents than a machine can run processes: forked by InProcessAgents,
 * which says what is wanted, one message after the other.
 */
import { createHash } from 'node:crypto';
import { subscribe } from 'node:diagnostics_channel';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Cluster } from '../../src/cluster/cluster.ts';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { InProcessAgent } from './in-process-agent.ts';

export interface WantedAgent {
  /** Among all: it holds the blobs that contentOf makes of it. */
  readonly number: number;
  readonly folder: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** One digest that an agent is to look up. */
export interface WantedLookup {
  readonly agent: number;
  readonly holder: number;
  readonly blob: number;
}

export type WorkerRequest =
  | { readonly type: 'start'; readonly agents: readonly WantedAgent[]; readonly blobsEach: number }
  | { readonly type: 'state' }
  | { readonly type: 'keepers'; readonly keys: readonly string[] }
  | { readonly type: 'lookups'; readonly lookups: readonly WantedLookup[] }
  | { readonly type: 'usage' }
  | { readonly type: 'stop' };

export interface AgentState {
  readonly number: number;
  readonly peerId: string;
  readonly others: number;
  readonly connections: number;
  readonly indexEntries: number;
  /** By the clock of its process. */
  readonly rosterChangedAtMs: number;
}

export interface LookupResult extends WantedLookup {
  readonly holders: readonly string[];
  readonly ms: number;
}

/** Since the start of the process. */
export interface WorkerUsage {
  /** Of all connections that others opened to these agents, both ways: each connection counts at one end. */
  readonly acceptedBytes: number;
  /** Calls over HTTP that these agents were asked. */
  readonly calls: number;
  readonly cpuMs: number;
  readonly rssBytes: number;
}

const LOOKUP_MS = 10_000;

const agents = new Map<number, InProcessAgent>();
const open = new Set<Socket>();
let closedBytes = 0;
let calls = 0;

subscribe('net.server.socket', (message) => {
  const { socket } = message as { readonly socket: Socket };
  open.add(socket);
  socket.once('close', () => {
    open.delete(socket);
    closedBytes += bytesOf(socket);
  });
});
subscribe('http.server.request.start', () => {
  calls += 1;
});
// One at a time: answers come in the order of the requests.
let turn = Promise.resolve();
process.on('message', (request: WorkerRequest) => {
  turn = turn.then(async () => {
    try {
      process.send?.({ answer: (await answer(request)) ?? null });
    } catch (error) {
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
});
process.once('disconnect', () => process.exit());

async function answer(request: WorkerRequest): Promise<unknown> {
  switch (request.type) {
    case 'start':
      return start(request.agents, request.blobsEach);
    case 'state':
      return Promise.all([...agents].map(([number, agent]) => stateOf(number, agent)));
    case 'keepers':
      return [...agents.values()].map((agent) => request.keys.map((key) => keepersOf(agent, key)));
    case 'lookups':
      return lookUp(request.lookups);
    case 'usage':
      return usage();
    case 'stop':
      await Promise.all([...agents.values()].map(({ agent }) => agent.stop()));
  }
  return undefined;
}

/** @returns where libp2p listens, `host:port` of each. */
async function start(wanted: readonly WantedAgent[], blobsEach: number): Promise<string[]> {
  const own: InProcessAgent[] = [];
  for (const { number, folder, settings } of wanted) {
    const agent = await InProcessAgent.create({ folder, settings });
    fillStore(`${folder}/store`, number, blobsEach);
    agents.set(number, agent);
    own.push(agent);
  }
  await Promise.all(own.map(({ agent }) => agent.start()));
  return own.map((agent) => {
    const [, , host, , port] = clusterOf(agent).roster.self.p2pAddresses[0]?.split('/') ?? [];
    return `${host}:${port}`;
  });
}

/** As a store that was left by an earlier run: the digests are right. */
function fillStore(store: string, holder: number, blobs: number): void {
  const folders = new Set<string>();
  for (let blob = 0; blob < blobs; blob += 1) {
    const content = contentOf(holder, blob);
    const hex = createHash('sha256').update(content).digest('hex');
    const folder = `${store}/blobs/sha256/${hex.slice(0, 2)}`;
    if (!folders.has(folder)) mkdirSync(folder, { recursive: true });
    folders.add(folder);
    writeFileSync(`${folder}/${hex}`, content);
  }
}

function contentOf(holder: number, blob: number): string {
  return `blob ${blob} of agent ${holder}`;
}

function digestOf(holder: number, blob: number): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(contentOf(holder, blob)).digest('hex')}`);
}

async function stateOf(number: number, agent: InProcessAgent): Promise<AgentState> {
  const cluster = clusterOf(agent);
  return {
    number,
    peerId: cluster.peerId,
    others: cluster.others.length,
    connections: await agent.metric('windlass_p2p_connections'),
    indexEntries: await agent.metric('windlass_index_entries'),
    rosterChangedAtMs: cluster.roster.changedAtMs,
  };
}

function keepersOf(agent: InProcessAgent, key: string): string {
  const keepers = clusterOf(agent).roster.keepers(key);
  return keepers.map(({ peerId, dataAddress }) => `${peerId} ${dataAddress}`).join();
}

/** One after the other: what is measured is a lookup, not a queue. */
async function lookUp(lookups: readonly WantedLookup[]): Promise<LookupResult[]> {
  const results: LookupResult[] = [];
  for (const wanted of lookups) {
    const agent = agents.get(wanted.agent);
    if (agent === undefined) continue;
    const digest = digestOf(wanted.holder, wanted.blob);
    const startMs = performance.now();
    const holders = await clusterOf(agent).router.lookup(digest, {
      signal: new AbortController().signal,
      timeoutMs: LOOKUP_MS,
    });
    results.push({ ...wanted, holders, ms: performance.now() - startMs });
  }
  return results;
}

function usage(): WorkerUsage {
  const { user, system } = process.cpuUsage();
  let acceptedBytes = closedBytes;
  for (const socket of open) acceptedBytes += bytesOf(socket);
  return { acceptedBytes, calls, cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() };
}

function bytesOf({ bytesRead, bytesWritten }: Socket): number {
  return bytesRead + bytesWritten;
}

function clusterOf({ agent }: InProcessAgent): Cluster {
  if (agent.cluster === undefined) throw new Error('the agent was not started');
  return agent.cluster;
}
