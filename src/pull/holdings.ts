import type { Digest } from '../oci/digest.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { ContentBlobs } from './content-blobs.ts';

export interface HoldingsChange {
  readonly held: readonly Digest[];
  readonly gone: readonly Digest[];
}

/** What other agents can have from this node: what its store holds, and what its containerd does. */
export class Holdings {
  readonly #store: Pick<BlobStore, 'stat' | 'list' | 'subscribe'>;
  readonly #content: Pick<ContentBlobs, 'get' | 'entries' | 'subscribe' | 'listed'> | undefined;

  constructor(store: BlobStore, content: ContentBlobs | undefined) {
    this.#store = store;
    this.#content = content;
  }

  /** Resolves when `list` is complete, as far as it can be. Never rejects. */
  get known(): Promise<void> {
    return this.#content?.listed ?? Promise.resolve();
  }

  list(): Digest[] {
    const digests = new Set<Digest>();
    for (const { digest } of this.#store.list()) digests.add(digest);
    for (const [digest] of this.#content?.entries() ?? []) digests.add(digest);
    return [...digests];
  }

  /** Listeners must not throw. What goes from one place and is in the other is no change. @returns unsubscribe */
  subscribe(listener: (change: HoldingsChange) => void): () => void {
    const stops = [
      this.#store.subscribe(({ type, digest }) => {
        if (type === 'committed') listener({ held: [digest], gone: [] });
        else if (this.#content?.get(digest) === undefined) listener({ held: [], gone: [digest] });
      }),
      this.#content?.subscribe(({ added, removed }) => {
        listener({ held: added, gone: removed.filter((digest) => this.#store.stat(digest) === undefined) });
      }),
    ];
    return () => {
      for (const stop of stops) stop?.();
    };
  }
}
