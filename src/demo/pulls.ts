import type { AgentProcess } from './agent-process.ts';
import type { Client, ClientReport } from './client.ts';
import type { DemoImage } from './image.ts';
import { type NodeReport, NodesWatch } from './nodes.ts';
import type { DemoProgress } from './progress.ts';
import type { DemoRegistry } from './registry.ts';
import type { DemoView } from './view.ts';

const FRAME_MS = 80;

export interface PullsOptions {
  readonly clients: readonly Client[];
  readonly agents: readonly AgentProcess[];
  readonly registry: DemoRegistry;
  readonly repository: string;
  readonly image: DemoImage;
  readonly view: DemoView;
  /** Runs beside the pulls, with the agents' own figures; given up by the signal when the pulls have ended. */
  readonly beside?: (nodes: NodesWatch, signal: AbortSignal) => Promise<void>;
}

export interface PullsReport {
  readonly clients: readonly ClientReport[];
  readonly nodes: readonly NodeReport[];
}

/** All clients pull at once, which is shown while it lasts. */
export async function runPulls(options: PullsOptions, signal: AbortSignal): Promise<PullsReport> {
  const { clients, agents, view, beside } = options;
  using nodes = await NodesWatch.start(agents);
  const startedMs = performance.now();
  const show = (): void => view.show(progress(options, nodes, performance.now() - startedMs));
  const timer = setInterval(show, FRAME_MS);
  const ended = new AbortController();
  try {
    show();
    const besides = beside?.(nodes, AbortSignal.any([signal, ended.signal])).catch((error: unknown) => {
      if (!ended.signal.aborted) throw error;
    });
    const [reports] = await Promise.all([
      Promise.all(clients.map((client) => client.pull(signal))).finally(() => ended.abort()),
      besides,
    ]);
    await nodes.untilQuiet();
    show();
    return { clients: reports, nodes: nodes.reports() };
  } finally {
    ended.abort();
    clearInterval(timer);
    view.done();
  }
}

function progress(
  { clients, registry, repository, image }: PullsOptions,
  nodes: NodesWatch,
  elapsedMs: number,
): DemoProgress {
  const { sizeBytes, blobs } = image;
  return {
    elapsedMs,
    sizeBytes,
    upstreamBytes: registry.counts(repository).sentBytes,
    servedBytes: clients.reduce((sum, client) => sum + client.receivedBytes, 0),
    blobs: blobs.map(({ digest, bytes }) => ({
      digest,
      sizeBytes: bytes.length,
      sentBytes: registry.sentBytes(digest),
      readers: clients.filter((client) => client.isReading(digest)).length,
    })),
    nodes: nodes.reports(),
    clients: clients.map(({ name, receivedBytes, outcome }) => ({ name, share: receivedBytes / sizeBytes, outcome })),
  };
}
