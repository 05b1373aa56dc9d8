import { z } from 'zod';
import { WindlassError } from '../errors.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { Manifests } from '../pull/manifests.ts';
import type { Tags } from '../pull/tags.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { type DropTarget, parseDropTarget, showDropTarget } from './drop-target.ts';
import type { Dropped, DroppedItem } from './dropped.ts';

/** What another agent answered, or why it did not. */
export interface Asked {
  readonly nodeName: string;
  readonly answer?: unknown;
  readonly error?: unknown;
}

export interface PurgeOptions {
  readonly node: string;
  readonly store: Pick<BlobStore, 'stat'>;
  readonly blobs: Pick<Blobs, 'purge'>;
  readonly manifests: Pick<Manifests, 'purge'>;
  readonly tags: Pick<Tags, 'purge'>;
  /** What this agent keeps for others of it: answers of tags, small blobs. */
  readonly forget: (target: DropTarget) => Promise<void>;
  /** Asks all other agents; each answers as `handle` does. */
  readonly others: (body: unknown, signal: AbortSignal) => Promise<readonly Asked[]>;
}

const requestSchema = z.object({ target: z.string().max(700) });
const itemSchema = z.object({
  what: z.enum(['blob', 'manifest', 'partial', 'tag']),
  sizeBytes: z.number().optional(),
});
const answerSchema = z.object({ removed: z.array(itemSchema).max(10) });

/** Removes a blob, manifest or tag, here and at the others. */
export class Purge {
  readonly #options: PurgeOptions;

  constructor(options: PurgeOptions) {
    this.#options = options;
  }

  /** What `windlass drop` asks for, through the admin socket. */
  async drop(
    target: DropTarget,
    options: { readonly everywhere: boolean; readonly signal: AbortSignal },
  ): Promise<readonly Dropped[]> {
    const { node, others } = this.#options;
    const own = { node, self: true, removed: await this.#purge(target) };
    if (!options.everywhere) return [own];
    const asked = await others({ target: showDropTarget(target) }, options.signal);
    return [own, ...asked.map(dropped)];
  }

  /** The CallHandler of path `purge`: another agent passes a drop on. @throws PEER_NONSENSE */
  async handle(body: unknown): Promise<unknown> {
    const request = requestSchema.safeParse(body);
    if (!request.success) throw new WindlassError('PEER_NONSENSE', 'purge: no target');
    return { removed: await this.#purge(parseDropTarget(request.data.target)) };
  }

  async #purge(target: DropTarget): Promise<DroppedItem[]> {
    const { store, blobs, manifests, tags, forget } = this.#options;
    const removed: DroppedItem[] = [];
    if (target.kind === 'tag') {
      if ((await tags.purge(target.name, target.tag)) !== undefined) removed.push({ what: 'tag' });
    } else {
      const sizeBytes = store.stat(target.digest)?.sizeBytes;
      const wasManifest = manifests.purge(target.digest);
      if (await blobs.purge(target.digest)) removed.push({ what: wasManifest ? 'manifest' : 'blob', sizeBytes });
    }
    await forget(target);
    return removed;
  }
}

function dropped({ nodeName, answer, error }: Asked): Dropped {
  const parsed = answerSchema.safeParse(answer);
  if (error === undefined && parsed.success) return { node: nodeName, self: false, removed: parsed.data.removed };
  const why =
    error === undefined ? 'its answer makes no sense' : error instanceof Error ? error.message : String(error);
  return { node: nodeName, self: false, removed: [], error: why };
}
