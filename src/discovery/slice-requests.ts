import { type Dispatcher, request } from 'undici';
import { z } from 'zod';
import { WindlassError } from '../errors.ts';
import type { ApiAccess } from './api-access.ts';
import { apiFailure, apiNonsense } from './api-failure.ts';
import { type EndpointSlice, readSlice } from './endpoint-slice.ts';
import { jsonLines } from './json-lines.ts';
import { Silence } from './silence.ts';
import { readEvent, readStatus, type SliceEvent } from './slice-event.ts';
import type { Timers } from './timers.ts';

/** To the headers, and between two chunks of a list. */
export const ANSWER_MS = 10_000;
/**
 * A watch of which nothing is heard for so long may be dead, and is begun again. Bookmarks come once a minute, but only
 * where slices anywhere changed since it began, or etcd tells of its progress (as kubeadm has it do): in a quiet cluster
 * without that, each watch ends so, and loses nothing.
 */
export const SILENT_MS = 90_000;
/** The server ends a watch after this, or up to twice as long, as client-go has it: so load moves to new servers. */
const WATCH_SECONDS = 300;
/** Slices in one answer; each has up to 100 endpoints, by the controller's default. */
const PAGE = 250;
const MAX_SAID_CHARS = 500;

export interface SliceList {
  readonly slices: readonly EndpointSlice[];
  /** Where to watch from. */
  readonly resourceVersion: string;
}

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** The server accepted. */
  readonly onOpen: () => void;
  readonly onEvent: (event: SliceEvent) => void;
}

export interface SliceRequestsOptions {
  /** Asked once, at the first request. */
  readonly loadAccess: () => Promise<ApiAccess>;
  readonly namespace: string;
  readonly service: string;
  readonly timers: Timers;
  /** From 0 to below 1. */
  readonly random: () => number;
}

const listSchema = z.object({
  metadata: z.object({ resourceVersion: z.string().min(1), continue: z.string().nullish() }),
  items: z.array(z.unknown()).nullish(),
});

type Chunks = AsyncIterable<Uint8Array>;

/** Lists and watches the EndpointSlices of one Service. Failures are DISCOVERY_UNAVAILABLE (see apiFailure). */
export class SliceRequests {
  readonly #options: SliceRequestsOptions;
  #access: ApiAccess | undefined;

  constructor(options: SliceRequestsOptions) {
    this.#options = options;
  }

  /** The most recent state, not what one server happens to have. */
  async list(signal: AbortSignal): Promise<SliceList> {
    const slices: EndpointSlice[] = [];
    let next: string | undefined;
    for (;;) {
      const query = { limit: String(PAGE), ...(next === undefined ? {} : { continue: next }) };
      const { metadata, items } = await this.#get(query, signal, readList);
      slices.push(...(items ?? []).flatMap((item) => readSlice(item) ?? []));
      if (!metadata.continue) return { slices, resourceVersion: metadata.resourceVersion };
      next = metadata.continue;
    }
  }

  /** Resolves when a watch that the server accepted is over: ended, cut, or silent for too long. */
  async watch(resourceVersion: string, { signal, onOpen, onEvent }: WatchOptions): Promise<void> {
    const query = {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(Math.round(WATCH_SECONDS * (1 + this.#options.random()))),
    };
    await this.#get(query, signal, async (body, silence) => {
      onOpen();
      for await (const line of jsonLines(untilCut(heard(body, silence, SILENT_MS)))) onEvent(readEvent(line));
    });
  }

  async #get<T>(
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
    use: (body: Chunks, silence: Silence) => Promise<T>,
  ): Promise<T> {
    const { namespace, service, timers } = this.#options;
    this.#access ??= await this.#options.loadAccess();
    const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
    const labelSelector = `kubernetes.io/service-name=${service}`;
    const { url, headers, dispatcher } = await this.#access.request(path, { labelSelector, ...query });
    const silence = new Silence(signal, timers);
    try {
      silence.allow(ANSWER_MS);
      const response = await request(url, {
        headers: { ...headers, accept: 'application/json' },
        signal: silence.signal,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
      if (response.statusCode === 200) return await use(response.body, silence);
      if (response.statusCode === 401) this.#access.renew();
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

async function* heard(body: Chunks, silence: Silence, limitMs: number): AsyncGenerator<Uint8Array> {
  silence.allow(limitMs);
  for await (const chunk of body) {
    silence.allow(limitMs);
    yield chunk;
  }
}

/** A stream that breaks off ends there. */
async function* untilCut(chunks: Chunks): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch {
    // Nothing is lost: the next watch goes on from the last event that came whole.
  }
}

async function textOf(body: Chunks, silence: Silence): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const chunk of heard(body, silence, ANSWER_MS)) all.push(chunk);
  return Buffer.concat(all).toString();
}

async function readList(body: Chunks, silence: Silence): Promise<z.output<typeof listSchema>> {
  const { data } = listSchema.safeParse(parseJson(await textOf(body, silence)));
  if (data === undefined) throw apiNonsense('what is no list of EndpointSlices');
  return data;
}

async function refusal(response: Dispatcher.ResponseData, silence: Silence): Promise<WindlassError> {
  const { statusCode, headers, body } = response;
  const text = await textOf(body, silence).catch(() => '');
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

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
