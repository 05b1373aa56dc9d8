import { z } from 'zod';
import { MAX_TAG_AGE_MS } from '../../routing/holder-index.ts';
import { listOf } from '../../routing/list-schema.ts';

/**
 * What agents say to a keeper, and what it answers: POST /windlass/v1/claims. The sender is whoever the connection
 * proved to be; only a deputy that forwards names another (`onBehalfOf`). No credentials, no times of day: ages and
 * bounds are durations in ms.
 */

/** Blobs up to this size, manifests and tags' answers travel inside the claims' answers. */
export const INLINE_BYTES = 64 * 1024;
export const LEASE_MS = 5_000;
export const RENEW_MS = 1_000;
/**
 * A deputy gives the keeper so long before it answers itself; who asks a deputy waits so much longer. But who takes the
 * deputy for the keeper does not, and a call may take 1 s: with 750 a deputy that then asked the others what they know
 * (RECALL_MS) answered 2 ms too late, and what it had granted nobody knew of.
 */
export const FORWARD_MS = 600;

const peerId = z.string().min(10).max(128);
/** `blob:<digest>` or `tag:<registry>/<repository>:<tag>[#<credentials' fingerprint>]`. */
const key = z.string().min(5).max(700);
/** `<registry>/<repository>[#<credentials' fingerprint>]`: what an upstream failure belongs to, with the key. */
const source = z.string().min(3).max(500);
const bytesCount = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** What is older, or may be, is told as this. */
export const MAX_DURATION_MS = 86_400_000;
const durationMs = z.number().min(0).max(MAX_DURATION_MS);
/** Of what a tag named when somebody last asked: kept over restarts, for as long as nobody asks again. */
const tagAgeMs = z.number().min(0).max(MAX_TAG_AGE_MS);

/** Bytes a second: the most that the sender knows any agent's uplink to carry. Agents of the first version do not say. */
const carries = z.number().positive().max(1e12).optional();

export const failedPeerSchema = z.object({
  peerId,
  /**
   * broken: connection refused, reset or ended early. silent: nothing came within the bound. slow: see eviction.
   * strained: it said that its uplink does not carry what it gets. wrong: its bytes did not have their hash. missing:
   * it has not got it. full: no upload slot. cycle: we are above it. failed: it told us that its own ingest failed.
   */
  why: z.enum(['broken', 'silent', 'slow', 'strained', 'wrong', 'missing', 'full', 'cycle', 'failed']),
});

export const claimSchema = z.object({
  type: z.literal('claim'),
  key,
  incarnation: z.number().int().min(0),
  source,
  sizeBytes: bytesCount.optional(),
  /** Bytes that the claimer has already, from 0 on, not verified. */
  prefix: bytesCount,
  failed: listOf(failedPeerSchema, 64),
  /** It would take the bytes in the answer, if there are at most INLINE_BYTES. */
  inline: z.boolean(),
  /** The answer may be held so long while somebody writes what is to come inline. */
  waitMs: durationMs,
  /** Of a tag: an answer up to this age will do. */
  maxAgeMs: durationMs.optional(),
  /** All that it was told to read from failed it for so long that it asks upstream without leave, if this one does too. */
  alone: z.boolean().optional(),
  zone: z.string().max(253),
  /** Bytes a second: the most that the claimer ever sent, and that it saw the source's registry deliver; where known. */
  uplink: z.number().positive().optional(),
  carries,
  registryRate: z.number().positive().optional(),
  /** The claimer's uplink does not carry what it gets: it is to have no children. */
  strained: z.boolean().optional(),
  /** Rather another one than the claimer writes it: for `waitMs` it is not granted. */
  yields: z.boolean().optional(),
  /** The prefix is what an earlier ingest left, and the claimer had neither the right nor a parent since. */
  resumes: z.boolean().optional(),
  onBehalfOf: peerId.optional(),
});

/** What happens to something claimed earlier; several at once, one call a keeper a second. */
export const reportSchema = z.object({
  key,
  incarnation: z.number().int().min(0),
  source,
  /** Of the grant, where the sender is a writer. */
  grant: z.string().max(200).optional(),
  /**
   * writing: the lease is to be renewed. held: committed here (`bytes` along where small). failed: upstream's answer.
   * left: neither writing nor reading it any more, nothing to tell of it.
   */
  state: z.enum(['writing', 'held', 'failed', 'left']),
  phase: z.enum(['opening', 'writing', 'verifying']).optional(),
  prefix: bytesCount.optional(),
  sizeBytes: bytesCount.optional(),
  /** Bytes a second from the registry now. */
  rate: z.number().min(0).optional(),
  /** Bytes a second sent to all children together: by this a writer is judged. */
  output: z.number().min(0).optional(),
  /** Bytes a second: the most that the sender ever sent of all keys together. Agents of the first version do not say. */
  uplink: z.number().positive().optional(),
  /** As in a claim, both. */
  carries,
  strained: z.boolean().optional(),
  /** base64; of a tag: JSON of a TagAnswer. */
  bytes: z
    .string()
    .max(Math.ceil((INLINE_BYTES * 4) / 3) + 4)
    .optional(),
  /** Of a tag: how old the answer is. */
  ageMs: tagAgeMs.optional(),
  code: z.string().max(64).optional(),
  message: z.string().max(500).optional(),
  upstreamStatus: z.number().int().optional(),
  retryAfterMs: durationMs.optional(),
});
const reportsSchema = z.object({
  type: z.literal('reports'),
  reports: listOf(reportSchema, 1000),
  onBehalfOf: peerId.optional(),
});

/** From a keeper to its deputies, without waiting: what they need to go on if it dies. Also answers `recall`. */
export const copySchema = z.object({
  key,
  sizeBytes: bytesCount.optional(),
  grant: z
    .object({
      id: z.string().max(200),
      peerId,
      incarnation: z.number().int(),
      source,
      /** Since its last renewal; so far it was then, and got so many bytes a second. */
      ageMs: durationMs,
      prefix: bytesCount,
      rate: z.number().min(0).optional(),
      phase: z.enum(['opening', 'writing', 'verifying']).optional(),
    })
    .optional(),
  holders: z.array(peerId).max(64),
  /** The tree: node and parent (null: fed by the writer's source). */
  tree: listOf(z.object({ peerId, parent: peerId.nullable() }), 10_000),
  failures: z
    .array(
      z.object({
        source,
        code: z.string().max(64),
        message: z.string().max(500),
        upstreamStatus: z.number().int().optional(),
        leftMs: durationMs,
      }),
    )
    .max(64),
  inline: z.object({ bytes: z.string().max(Math.ceil((INLINE_BYTES * 4) / 3) + 4), ageMs: tagAgeMs }).optional(),
});
const copiesSchema = z.object({ type: z.literal('copies'), copies: listOf(copySchema, 1000) });
/** A keeper whose view has just changed asks its deputies what they know of a key. Answered with a copy or null. */
const recallSchema = z.object({ type: z.literal('recall'), key });
/** From a keeper to a writer: another one writes by now. Answered when it knows. */
const revokeSchema = z.object({ type: z.literal('revoke'), key, grant: z.string().max(200) });

export const claimsRequestSchema = z.discriminatedUnion('type', [
  claimSchema,
  reportsSchema,
  copiesSchema,
  recallSchema,
  revokeSchema,
]);

export const parentSchema = z.object({
  peerId,
  dataAddress: z.string().max(300),
  /** holder: it has the whole, verified. writer: it has the grant. relay: it reads itself. */
  role: z.enum(['holder', 'writer', 'relay']),
});

export const claimAnswerSchema = z.discriminatedUnion('kind', [
  /** Write: nobody else does. */
  z.object({ kind: z.literal('write'), grant: z.string().max(200), leaseMs: durationMs, carries }),
  /** Read from these, the first that works. */
  z.object({
    kind: z.literal('read'),
    parents: z.array(parentSchema).min(1).max(16),
    sizeBytes: bytesCount.optional(),
    /** Take this peer's seat under the parent: the parent is to let it go (eviction). */
    replaces: peerId.optional(),
    carries,
  }),
  z.object({ kind: z.literal('bytes'), bytes: z.string(), ageMs: tagAgeMs }),
  /** Upstream said so to whoever asked with this source. */
  z.object({
    kind: z.literal('failed'),
    code: z.string().max(64),
    message: z.string().max(500),
    upstreamStatus: z.number().int().optional(),
    retryAfterMs: durationMs.optional(),
    /** Of a tag, upstream being down: what it was when somebody last asked. */
    stale: z.object({ bytes: z.string(), ageMs: tagAgeMs }).optional(),
  }),
  /** Somebody writes it, and nobody can be read from yet: ask again after so long. */
  z.object({ kind: z.literal('wait'), waitMs: durationMs }),
]);

export const reportAnswersSchema = z.object({
  /** In the order of the reports. lost: another one writes by now; become a reader. */
  answers: z.array(z.enum(['ok', 'lost'])).max(1000),
});

export const recallAnswerSchema = copySchema.nullable();
export const revokeAnswerSchema = z.object({ revoked: z.literal(true) });
/** Of copies nothing is answered that anybody reads. */
export const unknownAnswerSchema = z.unknown();

export type FailedPeer = z.output<typeof failedPeerSchema>;
export type Claim = z.output<typeof claimSchema>;
export type Report = z.output<typeof reportSchema>;
export type Copy = z.output<typeof copySchema>;
export type ClaimsRequest = z.output<typeof claimsRequestSchema>;
export type ClaimAnswer = z.output<typeof claimAnswerSchema>;
export type Parent = z.output<typeof parentSchema>;
export type ReportAnswers = z.output<typeof reportAnswersSchema>;
