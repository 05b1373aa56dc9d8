import { setTimeout as sleep } from 'node:timers/promises';
import type { TransferStatus } from '../status/agent-status.ts';
import type { AgentProcess } from './agent-process.ts';
import type { DemoImage } from './image.ts';
import type { NodesWatch } from './nodes.ts';
import type { DemoRegistry } from './registry.ts';

/** How much of the image has left the registry when the agent dies. */
const KILL_SHARE = 0.4;
const LOOK_MS = 20;

export interface Victim {
  /** Its node. */
  readonly name: string;
  /** What it was fetching from upstream, and how much of that had left the registry. */
  readonly digest: string;
  readonly blobBytes: number;
  readonly sentBytes: number;
}

/** Waits until the pull is in its middle, and kills the agent that has most left to fetch from upstream. */
export async function killWriter(
  {
    agents,
    registry,
    repository,
    image,
  }: {
    readonly agents: readonly AgentProcess[];
    readonly registry: DemoRegistry;
    readonly repository: string;
    readonly image: DemoImage;
  },
  signal: AbortSignal,
): Promise<Victim> {
  for (;;) {
    await sleep(LOOK_MS, undefined, { signal });
    if (registry.counts(repository).sentBytes < KILL_SHARE * image.sizeBytes) continue;
    const looks = await Promise.all(
      agents.map(async (agent) => ({ agent, transfers: (await agent.status(signal))?.transfers ?? [] })),
    );
    const [choice] = looks
      .flatMap(({ agent, transfers }) => transfers.filter(isFetching).map((transfer) => ({ agent, transfer })))
      .sort((a, b) => leftOf(b.transfer) - leftOf(a.transfer));
    if (choice === undefined) continue;
    const { agent, transfer } = choice;
    await agent.kill();
    const { digest } = transfer;
    return { name: agent.name, digest, blobBytes: transfer.sizeBytes ?? 0, sentBytes: registry.sentBytes(digest) };
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

function isFetching({ source, state, sizeBytes, written }: TransferStatus): boolean {
  return source === 'upstream' && state === 'writing' && written < (sizeBytes ?? 0);
}

function leftOf({ sizeBytes, written }: TransferStatus): number {
  return (sizeBytes ?? 0) - written;
}
