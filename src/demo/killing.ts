import { setTimeout as sleep } from 'node:timers/promises';
import type { TransferStatus } from '../status/agent-status.ts';
import type { AgentProcess } from './agent-process.ts';
import type { DemoImage } from './image.ts';
import type { NodesWatch } from './nodes.ts';
import type { DemoRegistry } from './registry.ts';

const LOOK_MS = 20;
/** How long the others have to catch up with the one that fetches: less than what agents call stalled (10 s). */
const CATCH_UP_MS = 8_000;
/** Some pieces may always be on their way. */
const NEAR_BYTES = 1024 * 1024;

export interface Victim {
  /** Its node. */
  readonly name: string;
  /** What it was fetching from upstream, and how much of that it had. */
  readonly digest: string;
  readonly blobBytes: number;
  readonly written: number;
}

interface Look {
  readonly agent: AgentProcess;
  readonly transfers: readonly TransferStatus[];
}

/**
 * Lets the registry pause half way through the image's largest blob, and kills the agent that was fetching it; then
 * the registry goes on. What was on the wire has arrived by then: what is fetched again is what nobody had passed on.
 */
export async function killWriter(
  agents: readonly AgentProcess[],
  registry: DemoRegistry,
  image: DemoImage,
  signal: AbortSignal,
): Promise<Victim> {
  const { digest, bytes } = image.blobs.reduce((a, b) => (b.bytes.length > a.bytes.length ? b : a));
  const holdAt = Math.floor(bytes.length / 2);
  registry.hold(digest, holdAt);
  try {
    let pausedAtMs: number | undefined;
    for (;;) {
      await sleep(LOOK_MS, undefined, { signal });
      if (registry.sentBytes(digest) < holdAt) continue;
      pausedAtMs ??= performance.now();
      const looks: Look[] = await Promise.all(
        agents.map(async (agent) => ({ agent, transfers: (await agent.status(signal))?.transfers ?? [] })),
      );
      const writer = looks.find(({ transfers }) => transfers.some((one) => isFetching(one) && one.digest === digest));
      if (writer === undefined) continue;
      const isLate = performance.now() - pausedAtMs > CATCH_UP_MS;
      if (!isLate && !isReady(writer, looks, digest, holdAt)) continue;
      await writer.agent.kill();
      const written = writer.transfers.find((one) => one.digest === digest)?.written ?? 0;
      return { name: writer.agent.name, digest, blobBytes: bytes.length, written };
    }
  } finally {
    registry.release();
  }
}

/** @returns the node whose agent fetches that now. */
export async function successorOf(
  victim: Victim,
  agents: readonly AgentProcess[],
  nodes: NodesWatch,
  signal: AbortSignal,
): Promise<string> {
  for (;;) {
    const successor = agents.find((agent) =>
      nodes
        .latest(agent)
        ?.transfers.some((transfer) => agent.isAlive && isFetching(transfer) && transfer.digest === victim.digest),
    );
    if (successor !== undefined) return successor.name;
    await sleep(LOOK_MS, undefined, { signal });
  }
}

/** It has all that was sent, fetches nothing else, and all others have nearly as much, whoever of them will go on. */
function isReady(writer: Look, looks: readonly Look[], digest: string, holdAt: number): boolean {
  const fetching = writer.transfers.filter(isFetching);
  const written = fetching.find((one) => one.digest === digest)?.written ?? 0;
  const isFollowed = looks.every(
    (look) =>
      look === writer || look.transfers.some((one) => one.digest === digest && one.written >= holdAt - NEAR_BYTES),
  );
  return fetching.length === 1 && written >= holdAt && isFollowed;
}

function isFetching({ source, state, sizeBytes, written }: TransferStatus): boolean {
  return source === 'upstream' && state === 'writing' && written < (sizeBytes ?? 0);
}
