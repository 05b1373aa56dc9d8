import { z } from 'zod';
import { parseListenAddress } from '../config/listen-address.ts';
import type { Member, PeerId, SignedMember } from './member.ts';

const CONTEXT = 'windlass-member/1\0';
/** Of an entry's JSON; ours have some 400. */
const MAX_ENTRY_CHARS = 4_096;
const MAX_NAME_CHARS = 253;
const MAX_P2P_ADDRESSES = 12;
const MAX_P2P_ADDRESS_CHARS = 255;
/** It gets into logs and pages: no line breaks. */
const NAME = new RegExp(`^\\P{Cc}{0,${MAX_NAME_CHARS}}$`, 'u');

/** Signs with this agent's identity. */
export type Sign = (bytes: Uint8Array) => Uint8Array;
/** Is the signature by the key within the peer id? Never throws. */
export type Verify = (peerId: PeerId, bytes: Uint8Array, signature: Uint8Array) => boolean;

/** A member's description, and the same as it was signed. */
export interface MemberEntry {
  readonly member: Member;
  readonly signed: SignedMember;
}

const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const peerIdSchema = z.string().regex(/^[A-Za-z0-9]{10,128}$/);
export const counterSchema = counter;

/** What is signed may have more fields, of a later version: they are not kept, and do not break the signature. */
const memberSchema = z.object({
  peerId: peerIdSchema,
  incarnation: counter,
  sequence: counter,
  nodeName: z.string().regex(NAME),
  zone: z.string().regex(NAME),
  dataAddress: z
    .string()
    .max(262)
    .refine((text) => (parseListenAddress(text)?.port ?? 0) > 0, 'not host:port'),
  p2pAddresses: z
    .array(
      z
        .string()
        .max(MAX_P2P_ADDRESS_CHARS)
        .regex(/^\/[\x21-\x7e]+$/),
    )
    .max(MAX_P2P_ADDRESSES),
  wireVersion: z.number().int().min(1).max(1_000_000),
  leaving: z.boolean(),
});

export const signedMemberSchema = z.object({
  entry: z.string().max(MAX_ENTRY_CHARS),
  signature: z.string().max(128),
});

/** What is too long for others to take, or would break their lines, is left out. */
export function fitMember(member: Member): Member {
  const shorten = (name: string) => name.replace(/\p{Cc}/gu, '').slice(0, MAX_NAME_CHARS);
  const fitting = member.p2pAddresses.filter((address) => address.length <= MAX_P2P_ADDRESS_CHARS);
  return {
    ...member,
    nodeName: shorten(member.nodeName),
    zone: shorten(member.zone),
    p2pAddresses: fitting.slice(0, MAX_P2P_ADDRESSES),
  };
}

export function signMember(member: Member, sign: Sign): MemberEntry {
  const entry = JSON.stringify(member);
  return { member, signed: { entry, signature: Buffer.from(sign(bytesOf(entry))).toString('base64url') } };
}

/** What it says; not yet who says it. Undefined where it makes no sense. */
export function readMember(signed: SignedMember): MemberEntry | undefined {
  if (signed.entry.length > MAX_ENTRY_CHARS) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(signed.entry);
  } catch {
    return undefined;
  }
  const parsed = memberSchema.safeParse(json);
  return parsed.success ? { member: parsed.data, signed } : undefined;
}

/** Was it signed by the very member that it describes? */
export function isGenuine({ member, signed }: MemberEntry, verify: Verify): boolean {
  return verify(member.peerId, bytesOf(signed.entry), Buffer.from(signed.signature, 'base64url'));
}

/**
 * Does the one entry take the other's place? The higher incarnation, then the higher sequence, then the one that
 * leaves, then whatever everybody agrees upon: an agent that signs two entries of one sequence shall divide nobody.
 */
export function isNewer(one: MemberEntry, other: MemberEntry): boolean {
  return (
    (compareVersions(one.member, other.member) ||
      Number(one.member.leaving) - Number(other.member.leaving) ||
      (one.signed.entry > other.signed.entry ? 1 : -1)) > 0 && one.signed.entry !== other.signed.entry
  );
}

export type MemberVersion = Pick<Member, 'incarnation' | 'sequence'>;

/** Above 0 where the first is the newer one. */
export function compareVersions(one: MemberVersion, other: MemberVersion): number {
  return one.incarnation - other.incarnation || one.sequence - other.sequence;
}

function bytesOf(entry: string): Uint8Array {
  return Buffer.from(CONTEXT + entry);
}
