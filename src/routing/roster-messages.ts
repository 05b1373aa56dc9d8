import { z } from 'zod';
import { listOf } from './list-schema.ts';
import { counterSchema, peerIdSchema, signedMemberSchema } from './member-entry.ts';

/** What agents say to each other about who is there: POST /windlass/v1/roster, and news. */

/** Live members that a roster takes. */
export const MAX_MEMBERS = 10_000;
/** Signed entries in one call: some 500 KiB. */
export const MAX_PAGE = 1_000;
/** Entries, and deaths, in one piece of news. */
export const MAX_NEWS = 64;
export const MAX_NEWS_BYTES = 128 * 1024;

export const STATES = ['live', 'left', 'dead'] as const;
export type MemberState = (typeof STATES)[number];

const versionSchema = z.object({ incarnation: counterSchema, sequence: counterSchema });
/** A peer id, incarnation, sequence. */
const deathSchema = z.tuple([peerIdSchema, counterSchema, counterSchema]);
const rowSchema = z.tuple([peerIdSchema, counterSchema, counterSchema, z.enum(STATES)]);
const checksum = z.string().max(64);

export const rosterRequestSchema = z.discriminatedUnion('type', [
  /** Are you there? `calledDead`: somebody says of you that you are not, and this is the entry that he knows. */
  z.object({ type: z.literal('probe'), self: signedMemberSchema, calledDead: versionSchema.optional() }),
  /** Is this one there, if you ask? */
  z.object({ type: z.literal('ask'), target: peerIdSchema }),
  /** Do we have the same live members? */
  z.object({ type: z.literal('compare'), self: signedMemberSchema, checksum }),
  /** Entries for the receiver, those that the sender would have, and whom the sender knows to be dead. */
  z.object({
    type: z.literal('mend'),
    give: listOf(signedMemberSchema, MAX_PAGE),
    want: listOf(peerIdSchema, MAX_PAGE),
    dead: listOf(deathSchema, MAX_PAGE),
  }),
]);

const greeting = {
  /** The answering agent's own entry, of now. */
  self: signedMemberSchema,
  checksum,
};
export const probeAnswerSchema = z.object(greeting);
export const askAnswerSchema = z.object({ alive: z.boolean() });
export const compareAnswerSchema = z.object({
  ...greeting,
  /** All that the answering agent knows of, the gone ones too; not there where the checksums are the same. */
  rows: listOf(rowSchema, 2 * MAX_MEMBERS).optional(),
});
export const mendAnswerSchema = z.object({ entries: listOf(signedMemberSchema, MAX_PAGE) });

/** `text` is JSON of a newsSchema, signed by `from`. */
export const newsEnvelopeSchema = z.object({
  from: peerIdSchema,
  text: z.string().max(MAX_NEWS_BYTES),
  signature: z.string().max(128),
});
export const newsSchema = z.object({
  entries: listOf(signedMemberSchema, MAX_NEWS),
  dead: listOf(deathSchema, MAX_NEWS),
});

export type Row = z.output<typeof rowSchema>;
export type Death = z.output<typeof deathSchema>;
