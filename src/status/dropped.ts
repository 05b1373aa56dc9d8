import type { DropTarget } from './drop-target.ts';

/** What became of a drop on one node. */
export interface Dropped {
  readonly node: string;
  /** This is the agent that was asked. */
  readonly self: boolean;
  /** What was there and is not any more; empty where it was not held. */
  readonly removed: readonly DroppedItem[];
  /** Why nothing is known of this node: it did not answer, or refused. */
  readonly error?: string | undefined;
}

export interface DroppedItem {
  /** partial: an unfinished file. */
  readonly what: 'blob' | 'manifest' | 'partial' | 'tag';
  readonly sizeBytes?: number | undefined;
}

/**
 * Removes it here, and with `cluster` on all other nodes. A node that cannot be asked is an entry with an `error`.
 * Rejects only where this node itself could not remove it.
 */
export type Drop = (
  target: DropTarget,
  options: { readonly cluster: boolean; readonly signal: AbortSignal },
) => Promise<readonly Dropped[]>;
