import type { PeerId } from './member.ts';

/** Of a tag: what is older, or may be, is told as this. Receivers take no more. */
export const MAX_TAG_AGE_MS = 10 * 365 * 86_400_000;

/** A tag's answer as it was last known: JSON of the record, and how old it is. */
export interface LastKnown {
  readonly bytes: Uint8Array;
  readonly ageMs: number;
}

/** What this agent, as keeper or deputy, was told of who holds what. In memory; made whole again after a restart. */
export interface HolderIndex {
  /** Thought to hold it. Of those that left in order or died, those of the last 60 s are kept, but not returned. */
  holders(key: string): readonly PeerId[];
  add(key: string, peerId: PeerId): void;
  /** Another keeper says so: that may be older than what was heard of it here. */
  addByHearsay(key: string, peerId: PeerId): void;
  /** It said itself that it does not, or was found not to. */
  remove(key: string, peerId: PeerId): void;
  lastKnown(key: string): LastKnown | undefined;
  /** @returns false, and nothing changes, where something later is known, or it was dropped since. */
  setLastKnown(key: string, record: LastKnown): boolean;
  /** Of everybody: it was dropped. */
  forget(key: string): void;
}
