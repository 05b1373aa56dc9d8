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
  /** Monotonic. When the ages of its tags were looked at. */
  readonly #listedMs: number;

  constructor(member: Member, listedMs: number) {
    this.member = member;
    this.#listedMs = listedMs;
  }

  /** Tags as they are told now: one that cannot be is not known there, whatever we do. */
  tagsAt(nowMs: number): ReturnType<typeof fittingTags> {
    return fittingTags(this.tags.map((tag) => ({ ...tag, ageMs: tag.ageMs + nowMs - this.#listedMs })));
  }
}

/** What is known here, by who keeps it; others than this agent. @param listedMs when `tags` had their ages. */
export function keptByKeeper(
  roster: Roster,
  digests: Iterable<string>,
  tags: readonly KnownTag[],
  listedMs: number,
): ReadonlyMap<PeerId, Kept> {
  const byKeeper = new Map<PeerId, Kept>();
  const keptBy = (key: string) => {
    const others = roster.keepers(key).filter(({ peerId }) => peerId !== roster.self.peerId);
    return others.map((member) => {
      const kept = byKeeper.get(member.peerId) ?? new Kept(member, listedMs);
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
