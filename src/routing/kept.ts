import { fittingTags } from './index-messages.ts';
import type { Member, PeerId } from './member.ts';
import type { Roster } from './roster.ts';

export interface KnownTag {
  readonly key: string;
  /** JSON of its record. */
  readonly bytes: Uint8Array;
  readonly ageMs: number;
}

/** What one other agent keeps of what is known here. */
export class Kept {
  readonly member: Member;
  readonly digests = new Set<string>();
  readonly tags: KnownTag[] = [];
  #told: ReturnType<typeof fittingTags> | undefined;

  constructor(member: Member) {
    this.member = member;
  }

  /** Tags as they are told: one that cannot be is not known there, whatever we do. To be asked for when all are there. */
  get toldTags(): ReturnType<typeof fittingTags> {
    this.#told ??= fittingTags(this.tags);
    return this.#told;
  }
}

/** What is known here, by who keeps it; others than this agent. */
export function keptByKeeper(
  roster: Roster,
  digests: Iterable<string>,
  tags: readonly KnownTag[],
): ReadonlyMap<PeerId, Kept> {
  const byKeeper = new Map<PeerId, Kept>();
  const keptBy = (key: string) => {
    const others = roster.keepers(key).filter(({ peerId }) => peerId !== roster.self.peerId);
    return others.map((member) => {
      const kept = byKeeper.get(member.peerId) ?? new Kept(member);
      byKeeper.set(member.peerId, kept);
      return kept;
    });
  };
  for (const digest of digests) {
    for (const kept of keptBy(`blob:${digest}`)) kept.digests.add(digest);
  }
  for (const tag of tags) {
    for (const kept of keptBy(tag.key)) kept.tags.push(tag);
  }
  return byKeeper;
}
