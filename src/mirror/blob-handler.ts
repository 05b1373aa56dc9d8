import { WindlassError } from '../errors.ts';
import { parseRange, resolveRange } from '../oci/range.ts';
import type { BlobReader } from '../pull/blob-reader.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { RangeHint } from '../pull/direct-readers.ts';
import { type BodySender, ClientGone, endEarly } from './body-sender.ts';
import { withBound } from './bound.ts';
import type { Exchange } from './exchange.ts';
import type { Target } from './request-path.ts';

const WHOLE: RangeHint = { start: 0, end: undefined };

type BlobTarget = Extract<Target, { kind: 'blob' }>;

/** GET and HEAD of blobs. */
export class BlobHandler {
  readonly #blobs: Blobs;
  readonly #sender: BodySender;
  readonly #headersTimeoutMs: number;

  constructor(blobs: Blobs, sender: BodySender, headersTimeoutMs: number) {
    this.#blobs = blobs;
    this.#sender = sender;
    this.#headersTimeoutMs = headersTimeoutMs;
  }

  async handle(exchange: Exchange, target: BlobTarget): Promise<void> {
    const etag = `"${target.digest}"`;
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': target.digest,
      'accept-ranges': 'bytes',
      etag,
    };
    if (exchange.isHead || exchange.matches(etag)) {
      const { sizeBytes, source } = await withBound(this.#headersTimeoutMs, exchange.signal, (signal) =>
        this.#blobs.head(target.origin, target.digest, signal),
      );
      exchange.source = source;
      if (exchange.matches(etag)) exchange.answer(304, { etag });
      else exchange.answer(200, { ...headers, 'content-length': sizeBytes });
      return;
    }
    await this.#get(exchange, target, headers);
  }

  async #get(exchange: Exchange, target: BlobTarget, headers: Record<string, string>): Promise<void> {
    const ifRange = exchange.header('if-range');
    const wanted = parseRange(ifRange === undefined || ifRange === headers.etag ? exchange.header('range') : undefined);
    const { reader, sizeBytes } = await withBound(this.#headersTimeoutMs, exchange.signal, (signal) =>
      this.#open(exchange, target, wanted.kind === 'range' ? wanted : WHOLE, signal),
    );
    try {
      const range = sizeBytes === undefined ? undefined : resolveRange(wanted, sizeBytes);
      if (range === 'unsatisfiable') {
        exchange.response.setHeader('content-range', `bytes */${sizeBytes}`);
        throw new WindlassError(
          'INVALID_RANGE',
          `range ${JSON.stringify(exchange.header('range')?.slice(0, 100))} of a blob of ${sizeBytes} bytes`,
        );
      }
      if (range !== undefined) {
        exchange.response.writeHead(206, {
          ...headers,
          'content-length': range.end - range.start + 1,
          'content-range': `bytes ${range.start}-${range.end}/${sizeBytes}`,
        });
      } else {
        exchange.response.writeHead(
          200,
          sizeBytes === undefined ? headers : { ...headers, 'content-length': sizeBytes },
        );
      }
      // Headers leave now: the body may be long in coming, and the client counts the time.
      exchange.response.flushHeaders();
      await this.#send(exchange, reader, {
        start: range?.start ?? 0,
        end: range === undefined ? sizeBytes : range.end + 1,
      });
    } finally {
      reader.close();
    }
  }

  /** A reader, and the size, if it can be told before the end. */
  async #open(
    exchange: Exchange,
    { origin, digest }: BlobTarget,
    hint: RangeHint,
    signal: AbortSignal,
  ): Promise<{ reader: BlobReader; sizeBytes: number | undefined }> {
    const reader = await this.#blobs.open(origin, digest, hint, signal);
    exchange.source = reader.source;
    exchange.ingestId = reader.ingestId;
    let sizeBytes: number | undefined;
    try {
      sizeBytes = reader.promised ? reader.sizeBytes : await reader.opened(signal);
    } catch (error) {
      reader.close();
      throw error;
    }
    if (sizeBytes !== undefined || hint.start === 0) return { reader, sizeBytes };
    // Without a size there is no 206: the whole is sent, and this reader began too late for that.
    reader.close();
    return this.#open(exchange, { kind: 'blob', origin, digest }, WHOLE, signal);
  }

  async #send(exchange: Exchange, reader: BlobReader, bounds: { start: number; end: number | undefined }) {
    try {
      await this.#sender.send(exchange.response, reader, {
        ...bounds,
        signal: exchange.signal,
        onBytes: (count) => {
          // Headers may have gone before it was known whether a peer or upstream has it.
          if (exchange.bytes === 0) exchange.source = reader.source;
          exchange.sent(count);
        },
      });
      exchange.response.end();
    } catch (error) {
      exchange.error = error;
      if (!(error instanceof ClientGone || exchange.signal.aborted)) endEarly(exchange.response);
    }
  }
}
