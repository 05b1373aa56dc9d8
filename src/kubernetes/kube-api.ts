import { type Dispatcher, request } from 'undici';
import { WindlassError } from '../errors.ts';
import type { Timers } from '../time/timers.ts';
import type { ApiAccess } from './api-access.ts';
import { apiFailure, apiNonsense } from './api-failure.ts';
import { readStatus } from './api-status.ts';
import { Silence } from './silence.ts';

/** To the headers, and between two chunks of what follows, unless it is a watch. */
export const ANSWER_MS = 10_000;
const MAX_SAID_CHARS = 500;

export interface KubeRequest {
  /** GET, if left out. */
  readonly method?: 'GET' | 'PATCH' | 'DELETE';
  /** As in `/api/v1/nodes`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON, of that media type. */
  readonly body?: { readonly type: string; readonly value: unknown };
}

/** The body of an answer, as it comes in. To be read once. */
export interface KubeAnswer {
  /** Fails when nothing is heard for so long. */
  chunks(limitMs: number): AsyncIterable<Uint8Array>;
}

export interface KubeApiOptions {
  /** Asked once, at the first request: it loads the client of Kubernetes. */
  readonly loadAccess: () => Promise<ApiAccess>;
  readonly timers: Timers;
}

/** Requests to the API server, each within its bound. Failures are KUBERNETES_UNAVAILABLE (see apiFailure). */
export class KubeApi {
  readonly #options: KubeApiOptions;
  #access: ApiAccess | undefined;

  constructor(options: KubeApiOptions) {
    this.#options = options;
  }

  /** The object that it answers with. */
  async json(ask: KubeRequest, signal: AbortSignal): Promise<unknown> {
    const text = await this.request(ask, signal, (answer) => textOf(answer.chunks(ANSWER_MS)));
    const value = parseJson(text);
    if (value === undefined) throw apiNonsense(`what is no JSON as its answer for ${ask.path}`);
    return value;
  }

  async request<T>(ask: KubeRequest, signal: AbortSignal, use: (answer: KubeAnswer) => Promise<T>): Promise<T> {
    this.#access ??= await this.#options.loadAccess();
    const { url, headers, dispatcher } = await this.#access.request(ask.path, ask.query ?? {});
    const silence = new Silence(signal, this.#options.timers);
    try {
      silence.allow(ANSWER_MS);
      const response = await request(url, {
        method: ask.method ?? 'GET',
        headers: { ...headers, accept: 'application/json', ...(ask.body && { 'content-type': ask.body.type }) },
        ...(ask.body && { body: JSON.stringify(ask.body.value) }),
        signal: silence.signal,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
      const { statusCode, body } = response;
      if (statusCode === 200 || statusCode === 201) {
        return await use({ chunks: (limitMs) => heard(body, silence, limitMs) });
      }
      if (statusCode === 401) this.#access.renew();
      throw await refusal(response, silence);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof WindlassError ? error : unreachable(url, error, silence);
    } finally {
      silence.end();
      // Its connections: there is one dispatcher a request.
      await dispatcher?.destroy();
    }
  }
}

export async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all).toString();
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function* heard(body: AsyncIterable<Uint8Array>, silence: Silence, limitMs: number): AsyncGenerator<Uint8Array> {
  silence.allow(limitMs);
  for await (const chunk of body) {
    silence.allow(limitMs);
    yield chunk;
  }
}

async function refusal(response: Dispatcher.ResponseData, silence: Silence): Promise<WindlassError> {
  const { statusCode, headers, body } = response;
  const text = await textOf(heard(body, silence, ANSWER_MS)).catch(() => '');
  const { message = text } = readStatus(parseJson(text));
  const seconds = Number(headers['retry-after']);
  return apiFailure(`the API server answered ${statusCode}: ${message.slice(0, MAX_SAID_CHARS)}`, {
    upstreamStatus: statusCode,
    retryAfterMs: seconds > 0 ? seconds * 1_000 : undefined,
  });
}

function unreachable(url: URL, cause: unknown, silence: Silence): WindlassError {
  const reason = silence.broken ? `nothing heard for ${ANSWER_MS} ms` : cause instanceof Error ? cause.message : cause;
  return apiFailure(`the API server ${url.host} cannot be reached: ${reason}`, { cause });
}
