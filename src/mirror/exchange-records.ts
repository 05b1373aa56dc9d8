import type { Logger } from 'pino';
import { type ErrorCode, WindlassError } from '../errors.ts';
import { type Metrics, SOURCES, type SourceLabel } from '../metrics/metrics.ts';
import { statusLabel } from '../metrics/status-label.ts';
import type { Manifests } from '../pull/manifests.ts';
import { ClientGone } from './body-sender.ts';
import type { Exchange } from './exchange.ts';

/** What a body under way can end by. */
const BREAKING_CODES: readonly (ErrorCode | 'INTERNAL')[] = [
  'DIGEST_MISMATCH',
  'INTERNAL',
  'NOT_FOUND',
  'READER_TOO_SLOW',
  'STOPPING',
  'STORE_UNUSABLE',
  'UPSTREAM_NONSENSE',
  'UPSTREAM_RATE_LIMITED',
  'UPSTREAM_STALLED',
  'UPSTREAM_UNAUTHORIZED',
  'UPSTREAM_UNAVAILABLE',
];

export interface ExchangeRecordsOptions {
  readonly manifests: Manifests;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** What the metrics and the log keep of each exchange: its bytes while they are sent, the rest once it has ended. */
export class ExchangeRecords {
  readonly #options: ExchangeRecordsOptions;
  /** Of each source; its labels are not looked up again for every portion of bytes. */
  readonly #sentBytes: ReadonlyMap<SourceLabel, { inc(count: number): void }>;

  constructor(options: ExchangeRecordsOptions) {
    this.#options = options;
    const { mirrorBytes } = options.metrics;
    this.#sentBytes = new Map(SOURCES.map((source) => [source, mirrorBytes.labels({ source })]));
    // From 0 on, so that queries see the first one as an increase.
    for (const code of BREAKING_CODES) options.metrics.mirrorBroken.inc({ code }, 0);
  }

  addBytes(source: SourceLabel, count: number): void {
    this.#sentBytes.get(source)?.inc(count);
  }

  add(exchange: Exchange): void {
    const { target, source, bytes, firstByteMs, error, isHead, response } = exchange;
    const { metrics, logger } = this.#options;
    const kind = target === undefined || target.kind === 'ping' || target.kind === 'relay' ? 'other' : target.kind;
    const ms = performance.now() - exchange.startedAtMs;
    const method = isHead ? 'HEAD' : 'GET';
    metrics.mirrorRequests.inc({ kind, method, code: statusLabel(response.statusCode), source });
    exchange.tellBytes();
    metrics.mirrorDuration.observe({ kind, source }, ms / 1000);
    if (firstByteMs !== undefined) metrics.mirrorFirstByte.observe({ source }, firstByteMs / 1000);
    const left = error instanceof ClientGone || exchange.signal.aborted;
    if (error !== undefined && response.headersSent && !left && response.statusCode < 300) {
      metrics.mirrorBroken.inc({ code: error instanceof WindlassError ? error.code : 'INTERNAL' });
    }
    if (kind === 'blob' && !isHead && error === undefined && !left && response.statusCode === 200) {
      metrics.mirrorBlob.observe({ source }, ms / 1000);
    }
    // A client that asks for what is not there, or may not, is no fault; nor one that leaves.
    const failed = error !== undefined && !left && (response.statusCode >= 500 || response.statusCode < 400);
    const told = response.statusCode >= 400 || (kind === 'blob' && !isHead && source !== 'store');
    const level = failed ? 'warn' : told ? 'info' : 'debug';
    if (!logger.isLevelEnabled(level)) return;
    logger[level](
      {
        req: exchange.id,
        ...this.#pullOf(exchange),
        method,
        ...(target !== undefined && 'tag' in target ? { tag: target.tag } : {}),
        status: response.statusCode,
        source,
        ingest: exchange.ingestId,
        bytes,
        ms: Math.round(ms),
        ...(left ? { left } : {}),
        ...(error instanceof WindlassError ? { code: error.code, reason: error.message } : {}),
      },
      'request',
    );
  }

  /** What was asked for, and the id that all requests for one image share. */
  #pullOf({ target, digest }: Exchange) {
    if (target === undefined || !('origin' in target)) return {};
    if (digest === undefined) return target.origin;
    return { pull: this.#options.manifests.pullIdOf(target.origin, digest), ...target.origin, digest };
  }
}
