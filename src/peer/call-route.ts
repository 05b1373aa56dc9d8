import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { PeerId } from '../routing/member.ts';
import { type CallHandler, type CallPath, MAX_CALL_BYTES } from '../routing/peer-calls.ts';
import { Bound } from './bound.ts';
import type { Guest } from './door.ts';
import { statusOf, tellable } from './peer-status.ts';
import { API_PATH, numberIn } from './wire.ts';

const MAX_SMALL_BYTES = 256 * 1024;
/** What calls' bodies, and answers that were not taken yet, may take in memory, all together. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** Whoever takes nothing of an answer for so long is let go. */
const TAKE_MS = 30_000;
const MAX_TIMEOUT_MS = 300_000;

export interface CallRouteOptions {
  readonly handlers: Readonly<Record<CallPath, CallHandler>>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** POST /windlass/v1/<path>: JSON in, JSON out. */
export class CallRoute {
  readonly #options: CallRouteOptions;
  #pendingBytes = 0;

  constructor(options: CallRouteOptions) {
    this.#options = options;
  }

  pathOf(path: string): CallPath | undefined {
    const name = path.slice(API_PATH.length);
    return Object.hasOwn(this.#options.handlers, name) ? (name as CallPath) : undefined;
  }

  /** Answers whatever happens. @throws Error when the caller left while it spoke. */
  async serve(
    path: CallPath,
    guest: Guest,
    query: ReadonlyMap<string, string>,
    request: IncomingMessage,
    response: ServerResponse,
    left: AbortSignal,
  ): Promise<void> {
    let status = 200;
    let answer: Buffer;
    this.#options.metrics.peerCalls.inc({ path });
    try {
      const body = await this.#read(path, request);
      if (!guest.hasSent(body)) throw new WindlassError('PEER_DENIED', 'a request that is not its sender’s');
      answer = await this.#answer(path, guest.peerId, body, timeoutOf(query), left);
    } catch (error) {
      if (left.aborted) return;
      status = statusOf(error);
      answer = Buffer.from(JSON.stringify(tellable(error)));
      const fields = { path, from: guest.peerId, err: error };
      if (status === 500) this.#options.logger.error(fields, 'call failed');
      if (hasCode(error, 'PEER_NONSENSE', 'PEER_BUSY')) {
        const reason = error.code === 'PEER_BUSY' ? 'busy' : 'nonsense';
        this.#options.metrics.peerRefused.inc({ plane: 'data', reason });
      }
      if (hasCode(error, 'PEER_NONSENSE')) this.#options.logger.warn(fields, 'call refused');
    }
    if (!request.complete) {
      // What was refused before its end: nothing more can be said on this connection.
      response.shouldKeepAlive = false;
      request.resume();
    }
    // It has closed already, and would not say so again.
    if (left.aborted) return;
    this.#pendingBytes += answer.length;
    response.once('close', () => {
      this.#pendingBytes -= answer.length;
    });
    // Until the next request: without a listener of ours the socket is closed.
    request.socket.setTimeout(TAKE_MS);
    const headers = { 'content-type': 'application/json', 'content-length': answer.length };
    response.writeHead(status, { ...headers, ...guest.seal(status, answer) }).end(answer);
  }

  async #answer(path: CallPath, from: PeerId, body: Buffer, timeoutMs: number, left: AbortSignal): Promise<Buffer> {
    const bound = new Bound(left, timeoutMs, () => new WindlassError('PEER_SILENT', `not done in ${timeoutMs} ms`));
    try {
      const answer = await this.#options.handlers[path](from, parseJson(body), bound.signal);
      const bytes = Buffer.from(JSON.stringify(answer ?? null));
      if (bytes.length > MAX_CALL_BYTES) throw new Error(`an answer of ${bytes.length} bytes`);
      if (this.#pendingBytes + bytes.length > MAX_PENDING_BYTES) throw tooMany();
      return bytes;
    } finally {
      bound.end();
    }
  }

  /** Within bounds. @throws PEER_NONSENSE, PEER_BUSY; Error when the caller left. */
  async #read(path: CallPath, request: IncomingMessage): Promise<Buffer> {
    // The whole roster of a large cluster, or what a node with many blobs holds.
    const max = path === 'index' || path === 'roster' ? MAX_CALL_BYTES : MAX_SMALL_BYTES;
    if (Number(request.headers['content-length'] ?? 0) > max) throw tooLong(max);
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.#pendingBytes += chunk.length;
        if (bytes > max) throw tooLong(max);
        if (this.#pendingBytes > MAX_PENDING_BYTES) throw tooMany();
        chunks.push(chunk);
      }
    } finally {
      this.#pendingBytes -= bytes;
    }
    return Buffer.concat(chunks, bytes);
  }
}

function timeoutOf(query: ReadonlyMap<string, string>): number {
  return Math.min(numberIn(query.get('timeout') ?? '') ?? MAX_TIMEOUT_MS, MAX_TIMEOUT_MS);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    throw new WindlassError('PEER_NONSENSE', 'a body that is no JSON', { cause: error });
  }
}

function tooMany(): WindlassError {
  return new WindlassError('PEER_BUSY', 'too many calls at once');
}

function tooLong(max: number): WindlassError {
  return new WindlassError('PEER_NONSENSE', `a body of more than ${max} bytes`);
}
