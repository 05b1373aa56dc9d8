import { z } from 'zod';
import { apiNonsense } from '../kubernetes/api-failure.ts';
import { ANSWER_MS, type KubeApi, parseJson, textOf } from '../kubernetes/kube-api.ts';
import { type EndpointSlice, readSlice } from './endpoint-slice.ts';
import { jsonLines } from './json-lines.ts';
import { readEvent, type SliceEvent } from './slice-event.ts';

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
  readonly api: KubeApi;
  readonly namespace: string;
  readonly service: string;
  /** From 0 to below 1. */
  readonly random: () => number;
}

const listSchema = z.object({
  metadata: z.object({ resourceVersion: z.string().min(1), continue: z.string().nullish() }),
  items: z.array(z.unknown()).nullish(),
});

/** Lists and watches the EndpointSlices of one Service. Failures are KUBERNETES_UNAVAILABLE (see apiFailure). */
export class SliceRequests {
  readonly #options: SliceRequestsOptions;

  constructor(options: SliceRequestsOptions) {
    this.#options = options;
  }

  /** The most recent state, not what one server happens to have. */
  async list(signal: AbortSignal): Promise<SliceList> {
    const slices: EndpointSlice[] = [];
    let next: string | undefined;
    for (;;) {
      const query = { limit: String(PAGE), ...(next === undefined ? {} : { continue: next }) };
      const { metadata, items } = await this.#options.api.request(this.#ask(query), signal, async (answer) =>
        readList(await textOf(answer.chunks(ANSWER_MS))),
      );
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
    await this.#options.api.request(this.#ask(query), signal, async (answer) => {
      onOpen();
      for await (const line of jsonLines(untilCut(answer.chunks(SILENT_MS)))) onEvent(readEvent(line));
    });
  }

  #ask(query: Readonly<Record<string, string>>) {
    const { namespace, service } = this.#options;
    return {
      path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      query: { labelSelector: `kubernetes.io/service-name=${service}`, ...query },
    };
  }
}

/** A stream that breaks off ends there. */
async function* untilCut(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch {
    // Nothing is lost: the next watch goes on from the last event that came whole.
  }
}

function readList(text: string): z.output<typeof listSchema> {
  const { data } = listSchema.safeParse(parseJson(text));
  if (data === undefined) throw apiNonsense('what is no list of EndpointSlices');
  return data;
}
