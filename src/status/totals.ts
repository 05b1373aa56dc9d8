import type { Counter } from 'prom-client';
import { type Metrics, SOURCES, type SourceLabel } from '../metrics/metrics.ts';
import type { Totals } from './agent-status.ts';

/** Sums up what the metrics count. */
export async function readTotals(metrics: Metrics): Promise<Totals> {
  const [requests, bytes, upstreamBytes, peerReceivedBytes, peerSentBytes, takeovers, blamed, refused] =
    await Promise.all([
      bySource(metrics.mirrorRequests, ({ code }) => String(code).startsWith('2')),
      bySource(metrics.mirrorBytes),
      sum(metrics.upstreamBytes),
      sum(metrics.peerReceivedBytes),
      sum(metrics.peerSentBytes),
      sum(metrics.takeovers),
      sum(metrics.peerBlamed),
      sum(metrics.peerRefused),
    ]);
  const answers = SOURCES.reduce((total, source) => total + (source === 'none' ? 0 : requests[source]), 0);
  const servedBytes = SOURCES.reduce((total, source) => total + bytes[source], 0);
  const savedBytes = Math.max(0, servedBytes - upstreamBytes);
  return {
    requests,
    bytes,
    hitRate: answers === 0 ? null : 1 - requests.upstream / answers,
    byteHitRate: servedBytes === 0 ? null : savedBytes / servedBytes,
    upstreamBytes,
    peerReceivedBytes,
    peerSentBytes,
    savedBytes,
    takeovers,
    blamed,
    refused,
  };
}

type Labels = Readonly<Partial<Record<string, string | number>>>;

async function bySource<L extends string>(
  counter: Counter<L | 'source'>,
  counts: (labels: Labels) => boolean = () => true,
): Promise<Record<SourceLabel, number>> {
  const sums: Record<SourceLabel, number> = { store: 0, content: 0, ingest: 0, peer: 0, upstream: 0, none: 0 };
  for (const { labels, value } of (await counter.get()).values) {
    const source = SOURCES.find((known) => known === labels.source);
    if (source !== undefined && counts(labels)) sums[source] += value;
  }
  return sums;
}

async function sum<L extends string>(counter: Counter<L>): Promise<number> {
  return (await counter.get()).values.reduce((total, { value }) => total + value, 0);
}
