import { type Dispatcher, errors } from 'undici';
import { systemCode } from '../errors.ts';
import { ResponseBody } from './response-body.ts';

export interface ExchangeRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends the wait for the answer, and its body. */
  readonly signal: AbortSignal;
  readonly headersTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly onBytes: (sizeBytes: number) => void;
  /** Makes the error that callers see of undici's or the system's. */
  readonly describe: (error: unknown, receivedBytes?: number) => unknown;
}

export interface Answer {
  readonly status: number;
  /** Names in lower case; a repeated one is joined by ", ". */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ResponseBody;
  /** Settles, never rejects, when no more bytes of the body will come. */
  readonly over: Promise<void>;
}

/**
 * One HTTP request and its answer, whatever its status. A kept-alive connection that the peer closed while the
 * request was on its way is no failure of upstream's: before any byte of an answer, it is tried once more.
 */
export async function exchange(dispatcher: Dispatcher, request: ExchangeRequest): Promise<Answer> {
  const first = new Attempt(request);
  try {
    return await first.run(dispatcher);
  } catch (error) {
    if (request.signal.aborted || first.answering || !wasReusedConnection(error)) throw describe(request, error);
  }
  try {
    return await new Attempt(request).run(dispatcher);
  } catch (error) {
    throw describe(request, error);
  }
}

function describe(request: ExchangeRequest, error: unknown): unknown {
  return request.signal.aborted ? request.signal.reason : request.describe(error);
}

function wasReusedConnection(error: unknown): boolean {
  const code = systemCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return true;
  if (code !== 'UND_ERR_SOCKET' || !(error instanceof Error) || !('socket' in error)) return false;
  const socket = error.socket;
  // undici tells what the connection had carried: nothing read means that it was new.
  return typeof socket === 'object' && socket !== null && 'bytesRead' in socket && Number(socket.bytesRead) > 0;
}

class Attempt implements Dispatcher.DispatchHandler {
  /** A byte of the answer has come. */
  answering = false;
  readonly #request: ExchangeRequest;
  readonly #answer = Promise.withResolvers<Answer>();
  readonly #over = Promise.withResolvers<void>();
  #controller: Dispatcher.DispatchController | undefined;
  #body: ResponseBody | undefined;
  #headersTimer: NodeJS.Timeout | undefined;

  constructor(request: ExchangeRequest) {
    this.#request = request;
  }

  run(dispatcher: Dispatcher): Promise<Answer> {
    const { method, url, headers, body, signal } = this.#request;
    signal.throwIfAborted();
    signal.addEventListener('abort', this.#onAbort);
    try {
      dispatcher.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method,
          headers,
          body: body ?? null,
          // undici closes the connection after a HEAD unless told otherwise; registries can be asked on.
          ...(method === 'HEAD' ? { reset: false } : {}),
          headersTimeout: 0, // undici's begins anew with each 1xx, of which there may be no end
          bodyTimeout: 0, // undici's counts the time in which the reader is busy
        },
        this,
      );
    } catch (error) {
      this.#end();
      throw error;
    }
    return this.#answer.promise;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    const { signal, headersTimeoutMs } = this.#request;
    clearTimeout(this.#headersTimer); // undici may send a request again
    if (signal.aborted) controller.abort(abortError(signal));
    else this.#headersTimer = setTimeout(() => controller.abort(new errors.HeadersTimeoutError()), headersTimeoutMs);
  }

  onResponseStarted(): void {
    this.answering = true;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    clearTimeout(this.#headersTimer);
    const { method, signal, stallTimeoutMs, describe } = this.#request;
    const length = method === 'HEAD' ? undefined : headers['content-length'];
    const body = new ResponseBody({
      controller,
      lengthBytes: typeof length === 'string' ? Number(length) : undefined,
      stallTimeoutMs,
      describe: (error, receivedBytes) => (signal.aborted ? signal.reason : describe(error, receivedBytes)),
      onOver: () => this.#end(),
    });
    this.#body = body;
    this.#answer.resolve({ status, headers: flatten(headers), body, over: this.#over.promise });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#request.onBytes(chunk.byteLength);
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#body !== undefined) {
      this.#body.fail(error);
    } else {
      this.#end();
      this.#answer.reject(error);
    }
  }

  /** Where undici is still connecting there is no controller: the caller is let go at once all the same. */
  readonly #onAbort = (): void => {
    const { signal } = this.#request;
    if (this.#body === undefined) {
      this.#end();
      this.#answer.reject(signal.reason);
    } else {
      this.#body.fail(signal.reason);
    }
    this.#controller?.abort(abortError(signal));
  };

  #end(): void {
    clearTimeout(this.#headersTimer);
    this.#request.signal.removeEventListener('abort', this.#onAbort);
    this.#over.resolve();
  }
}

function abortError(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal.reason });
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = typeof value === 'string' ? value : value.join(', ');
  }
  return flat;
}
