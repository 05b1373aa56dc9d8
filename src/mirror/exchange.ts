import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SourceLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from './request-path.ts';

/** How often the metrics hear of bytes: of a long pull as it goes on, but not of each buffer. */
const TELL_EVERY_BYTES = 1024 * 1024;

/** One request and its answer: what handlers write to, and what the log and the metrics read at the end. */
export class Exchange {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly isHead: boolean;
  readonly startedAtMs = performance.now();
  /** Aborted when the client leaves before its answer is whole. */
  readonly signal: AbortSignal;
  target: Target | undefined;
  /** What was answered with: as asked for, or as the tag named it. */
  digest: Digest | undefined;
  source: SourceLabel = 'none';
  ingestId: string | undefined;
  bytes = 0;
  /** How many of them `onBytes` was told. */
  #toldBytes = 0;
  readonly #onBytes: (source: SourceLabel, count: number) => void;
  firstByteMs: number | undefined;
  /** Why the answer is an error, or why the body ended early. */
  error: unknown;

  /** @param onBytes told of what was sent, in portions of 1 MiB and more; `tellBytes` tells the rest */
  constructor(
    id: string,
    request: IncomingMessage,
    response: ServerResponse,
    onBytes: (source: SourceLabel, count: number) => void,
  ) {
    this.id = id;
    this.#onBytes = onBytes;
    this.request = request;
    this.response = response;
    this.isHead = request.method === 'HEAD';
    const abort = new AbortController();
    this.signal = abort.signal;
    // A client that resets its connection is no fault of ours; what waits for it learns by the signal.
    response.on('error', () => {});
    response.once('close', () => {
      if (!response.writableFinished) abort.abort(new Error('the client left'));
    });
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Does If-None-Match name this entity tag? Weak comparison, as RFC 9110 has it. */
  matches(etag: string): boolean {
    const header = this.header('if-none-match');
    if (header === undefined) return false;
    return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  }

  sent(count: number): void {
    this.firstByteMs ??= performance.now() - this.startedAtMs;
    this.bytes += count;
    if (this.bytes - this.#toldBytes >= TELL_EVERY_BYTES) this.tellBytes();
  }

  tellBytes(): void {
    this.#onBytes(this.source, this.bytes - this.#toldBytes);
    this.#toldBytes = this.bytes;
  }

  /** A whole answer at once. On HEAD the body only tells its length. */
  answer(status: number, headers: Record<string, string | number>, body?: Uint8Array | string): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    this.response.writeHead(status, bytes === undefined ? headers : { 'content-length': bytes.length, ...headers });
    if (this.isHead || bytes === undefined) {
      this.response.end();
    } else {
      // Hit rates are about what was asked for, not about refusals.
      if (status < 300) this.sent(bytes.length);
      this.response.end(bytes);
    }
  }
}
