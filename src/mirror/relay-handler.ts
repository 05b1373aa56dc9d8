import { WindlassError } from '../errors.ts';
import type { Registries } from '../upstream/registry-client.ts';
import { withBound } from './bound.ts';
import type { Exchange } from './exchange.ts';
import type { Target } from './request-path.ts';

const PASSED_HEADERS = ['content-type', 'oci-filters-applied', 'docker-distribution-api-version'];

/** Answers of up to 4 MiB each that clients have not read yet: with more, new ones are sent to their next host. */
const MAX_HELD_BYTES = 64 * 1024 * 1024;

/** Tag lists and referrers: upstream's answer as it is, 404 included. */
export class RelayHandler {
  readonly #registries: Registries;
  readonly #headersTimeoutMs: number;
  #heldBytes = 0;

  constructor(registries: Registries, headersTimeoutMs: number) {
    this.#registries = registries;
    this.#headersTimeoutMs = headersTimeoutMs;
  }

  async handle(exchange: Exchange, target: Extract<Target, { kind: 'relay' }>): Promise<void> {
    const { registry, repository } = target.origin;
    const answer = await withBound(this.#headersTimeoutMs, exchange.signal, (signal) =>
      this.#registries.get(registry).relay(repository, target.path, { signal, accept: exchange.header('accept') }),
    );
    this.#hold(exchange, answer.bytes.length);
    exchange.source = 'upstream';
    const headers: Record<string, string> = {};
    for (const name of PASSED_HEADERS) {
      const value = answer.headers[name];
      if (value !== undefined) headers[name] = value;
    }
    const next =
      answer.headers.link === undefined ? undefined : rewriteNext(answer.headers.link, exchange.request.url ?? '');
    if (next !== undefined) headers.link = next;
    exchange.answer(answer.status, headers, answer.bytes);
  }

  /** Counts the bytes until the client has them, or is gone. */
  #hold({ response, signal }: Exchange, bytes: number): void {
    signal.throwIfAborted();
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) {
      throw new WindlassError('UPSTREAM_UNAVAILABLE', 'too many answers wait for their clients to read them');
    }
    this.#heldBytes += bytes;
    response.once('close', () => {
      this.#heldBytes -= bytes;
    });
  }
}

/** The next page as the client must ask for it: upstream's query at the path (and `ns`) that the client used here. */
function rewriteNext(link: string, requestUrl: string): string | undefined {
  const match = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(link);
  if (match === null) return undefined;
  const [path = '', query = ''] = requestUrl.split('?', 2);
  const params = new URLSearchParams((match[1] ?? '').split('?', 2)[1] ?? '');
  const ns = new URLSearchParams(query).get('ns');
  if (ns !== null) params.set('ns', ns);
  return `<${path}?${params}>; rel="next"`;
}
