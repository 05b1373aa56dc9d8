import { z } from 'zod';
import { MAX_TAG_AGE_MS } from './holder-index.ts';
import { listOf } from './list-schema.ts';

/**
 * What agents tell keepers about what they hold: POST /windlass/v1/index. Digests travel packed: 32 bytes each in
 * base64 for sha256, as text for the rare others. A keeper takes only the keys that it keeps itself.
 */

/** More of its digests nobody keeps of one agent, whatever it advertises. */
export const MAX_DIGESTS = 100_000;
const MAX_TAGS = 10_000;
const MAX_TAG_BYTES = 4096;

/** Digests of one kind or the other. */
export const packedSchema = z.object({
  sha256: z.string().max(Math.ceil((MAX_DIGESTS * 32 * 4) / 3) + 4),
  others: listOf(z.string().max(200), 1000),
});

const peerId = z.string().min(10).max(128);
const tagKey = z.string().min(5).max(700);
const tagSchema = z.object({
  key: tagKey,
  /** base64 of the record's JSON. */
  bytes: z.string().max(MAX_TAG_BYTES),
  ageMs: z.number().min(0).max(MAX_TAG_AGE_MS),
});
const entriesSchema = listOf(z.object({ peerId, digests: packedSchema }), 10_000);
const tagsSchema = listOf(tagSchema, MAX_TAGS);

/** Those that a receiver takes: one that does not fit would have it refuse all, holders included. Youngest first. */
export function fittingTags(
  tags: readonly { readonly key: string; readonly bytes: Uint8Array; readonly ageMs: number }[],
): z.output<typeof tagsSchema> {
  return tags
    .toSorted((a, b) => a.ageMs - b.ageMs)
    .map(({ key, bytes, ageMs }) => ({
      key,
      bytes: Buffer.from(bytes).toString('base64'),
      ageMs: Math.min(MAX_TAG_AGE_MS, Math.max(0, ageMs)),
    }))
    .filter((tag) => tagSchema.safeParse(tag).success)
    .slice(0, MAX_TAGS);
}

export const indexRequestSchema = z.discriminatedUnion('type', [
  /** What the sender holds of the receiver's keys: changes, or all of it (`full`: what is not named is no more). */
  z.object({
    type: z.literal('announce'),
    full: z.boolean(),
    add: packedSchema,
    remove: packedSchema,
    tags: tagsSchema,
  }),
  /**
   * Does the receiver know the sender to hold exactly this, and anything at all of these tags? `checksum` as packed
   * by `checksumOf`; agents of the first version name no tags.
   */
  z.object({
    type: z.literal('confirm'),
    count: z.number().int().min(0),
    checksum: z.string().max(100),
    tags: listOf(tagKey, MAX_TAGS).default([]),
  }),
  /** All that the receiver knows of the keys that the sender keeps now. */
  z.object({ type: z.literal('range') }),
  /** A keeper that leaves gives the receiver what that one keeps from now on. */
  z.object({ type: z.literal('handover'), entries: entriesSchema, tags: tagsSchema }),
  z.object({ type: z.literal('lookup'), digest: z.string().max(200) }),
]);

export const doneAnswerSchema = z.object({ ok: z.boolean() });
export const rangeAnswerSchema = z.object({ entries: entriesSchema, tags: tagsSchema });
export const lookupAnswerSchema = z.object({ holders: z.array(peerId).max(64) });

export type Packed = z.output<typeof packedSchema>;
export type IndexEntries = z.output<typeof rangeAnswerSchema>;
