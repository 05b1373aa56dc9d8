import type { Metrics } from '../metrics/metrics.ts';
import type { HistorySample, LastHour, Totals } from './agent-status.ts';
import { readTotals } from './totals.ts';

const HOUR_MS = 3_600_000;
const EVERY_MS = 10_000;
/** One at each end of the hour. */
const MAX_SAMPLES = HOUR_MS / EVERY_MS + 1;

type Sample = Omit<HistorySample, 'msAgo'> & { readonly atMs: number };

/** The totals of the last hour, one sample each ten seconds: all that is computed while nobody looks. */
export class History {
  readonly #metrics: Metrics;
  readonly #samples: Sample[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sequence = 0;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.add(NOTHING, performance.now());
  }

  start(): void {
    this.#timer = setInterval(() => void this.#look(), EVERY_MS).unref();
  }

  /** Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
  }

  add(totals: Counted, atMs: number): void {
    this.#sequence += 1;
    this.#samples.push(sampleOf(totals, atMs));
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** How many there were since the start. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Those after the first `sequence`, as far as they are kept, the oldest first. */
  since(sequence: number, nowMs: number): HistorySample[] {
    const fresh = this.#sequence - sequence;
    if (fresh <= 0) return [];
    return this.#samples.slice(-fresh).map(({ atMs, ...sample }) => ({ msAgo: Math.round(nowMs - atMs), ...sample }));
  }

  lastHour(totals: Counted, nowMs: number): LastHour {
    const now = sampleOf(totals, nowMs);
    const from = this.#samples.find(({ atMs }) => nowMs - atMs <= HOUR_MS) ?? now;
    const [answers, servedBytes] = [now.answers - from.answers, now.servedBytes - from.servedBytes];
    const upstreamBytes = now.upstreamBytes - from.upstreamBytes;
    const savedBytes = Math.max(0, servedBytes - upstreamBytes);
    return {
      overMs: Math.round(nowMs - from.atMs),
      hitRate: answers === 0 ? null : (now.hits - from.hits) / answers,
      byteHitRate: servedBytes === 0 ? null : savedBytes / servedBytes,
      servedBytes,
      upstreamBytes,
      savedBytes,
    };
  }

  async #look(): Promise<void> {
    this.add(await readTotals(this.#metrics), performance.now());
  }
}

type Counted = Pick<Totals, 'requests' | 'bytes' | 'upstreamBytes' | 'peerReceivedBytes'>;

const NO_SOURCE = { store: 0, content: 0, ingest: 0, peer: 0, upstream: 0, none: 0 };
const NOTHING: Counted = { requests: NO_SOURCE, bytes: NO_SOURCE, upstreamBytes: 0, peerReceivedBytes: 0 };

function sampleOf({ requests, bytes, upstreamBytes, peerReceivedBytes }: Counted, atMs: number): Sample {
  const answers = sum(requests) - requests.none;
  return {
    atMs,
    answers,
    hits: answers - requests.upstream,
    servedBytes: sum(bytes),
    upstreamBytes,
    peerBytes: peerReceivedBytes,
  };
}

function sum(numbers: Readonly<Record<string, number>>): number {
  return Object.values(numbers).reduce((total, number) => total + number, 0);
}
