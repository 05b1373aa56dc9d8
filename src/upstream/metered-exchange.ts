import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import { statusLabel } from '../metrics/status-label.ts';
import { type Answer, exchange } from './exchange.ts';
import type { Transport } from './transport.ts';
import { connectionFailure, type RequestName } from './upstream-failure.ts';

export type RequestKind = 'manifest' | 'blob' | 'token' | 'other';

export interface MeteredRequest {
  readonly kind: RequestKind;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  /** What messages and log lines may say of it. */
  readonly name: RequestName;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface MeteredExchangeOptions {
  /** Bounded: the settings' host, so a wildcard's for the hosts it allowed. */
  readonly label: string;
  readonly transport: Transport;
  /** User-Agent of every request. */
  readonly userAgent: string;
  readonly headersTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly now: () => number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** Single HTTP requests of one registry, each counted, timed and logged; errors are ours or the signal's reason. */
export class MeteredExchange {
  readonly #options: MeteredExchangeOptions;
  readonly #received: { inc(value: number): void };

  constructor(options: MeteredExchangeOptions) {
    this.#options = options;
    this.#received = options.metrics.upstreamBytes.labels({ registry: options.label });
  }

  /** Does a request for this URL go to its host itself, past no proxy? */
  isDirect(url: URL): boolean {
    return this.#options.transport.isDirect(url);
  }

  async send(request: MeteredRequest): Promise<Answer> {
    const { label, transport, metrics, logger, now, userAgent, headersTimeoutMs, stallTimeoutMs } = this.#options;
    const { kind, method, url, name, signal } = request;
    const headers = { 'user-agent': userAgent, ...request.headers };
    const describe = (error: unknown, receivedBytes?: number) =>
      connectionFailure(error, name, receivedBytes, url.host);
    const onBytes = (sizeBytes: number) => this.#received.inc(sizeBytes);
    const sentAtMs = now();
    let answer: Answer;
    try {
      const dispatcher = await transport.dispatcher(url).catch((error: unknown) => Promise.reject(describe(error)));
      answer = await exchange(dispatcher, { ...request, headers, headersTimeoutMs, stallTimeoutMs, onBytes, describe });
    } catch (error) {
      if (!signal.aborted) {
        metrics.upstreamRequests.inc({ registry: label, kind, method, status: 'error' });
        logger.debug({ ...name, host: url.host, err: error }, 'upstream request failed');
      }
      throw error;
    }
    const tookMs = now() - sentAtMs;
    metrics.upstreamRequests.inc({ registry: label, kind, method, status: statusLabel(answer.status) });
    metrics.upstreamFirstByte.observe({ registry: label }, tookMs / 1000);
    logger.debug({ ...name, host: url.host, status: answer.status, tookMs: Math.round(tookMs) }, 'upstream answered');
    return answer;
  }
}
