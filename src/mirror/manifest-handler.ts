import type { Manifest, Manifests } from '../pull/manifests.ts';
import type { Tags } from '../pull/tags.ts';
import { withBound } from './bound.ts';
import type { Exchange } from './exchange.ts';
import type { Target } from './request-path.ts';

type ManifestTarget = Extract<Target, { kind: 'manifest' | 'tag' }>;

/** GET and HEAD of manifests, by tag and by digest. A Range is ignored: manifests are small, and always sent whole. */
export class ManifestHandler {
  readonly #manifests: Manifests;
  readonly #tags: Tags;
  readonly #headersTimeoutMs: number;

  constructor(manifests: Manifests, tags: Tags, headersTimeoutMs: number) {
    this.#manifests = manifests;
    this.#tags = tags;
    this.#headersTimeoutMs = headersTimeoutMs;
  }

  async handle(exchange: Exchange, target: ManifestTarget): Promise<void> {
    await withBound(this.#headersTimeoutMs, exchange.signal, async (signal) => {
      if (target.kind === 'tag') await this.#byTag(exchange, target, signal);
      else this.#answer(exchange, await this.#manifests.get(target.origin, target.digest, signal));
    });
  }

  async #byTag(exchange: Exchange, target: Extract<Target, { kind: 'tag' }>, signal: AbortSignal): Promise<void> {
    const { record, source } = await this.#tags.resolve(target.origin, target.tag, signal);
    exchange.digest = record.digest;
    if (exchange.isHead) {
      exchange.source = source;
      const { digest, mediaType, sizeBytes } = record;
      if (exchange.matches(`"${digest}"`)) exchange.answer(304, { etag: `"${digest}"` });
      else exchange.answer(200, { ...headersOf(digest, mediaType), 'content-length': sizeBytes });
      return;
    }
    this.#answer(exchange, await this.#manifests.get(target.origin, record.digest, signal));
  }

  #answer(exchange: Exchange, manifest: Manifest): void {
    exchange.source = manifest.source;
    const headers = headersOf(manifest.digest, manifest.mediaType);
    if (exchange.matches(headers.etag)) exchange.answer(304, { etag: headers.etag });
    else exchange.answer(200, headers, manifest.bytes);
  }
}

function headersOf(digest: string, mediaType: string) {
  return { 'content-type': mediaType, 'docker-content-digest': digest, etag: `"${digest}"` };
}
