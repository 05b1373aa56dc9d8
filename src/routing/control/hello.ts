import type { Connection, Stream } from '@libp2p/interface';
import { z } from 'zod';
import { hasCode, WindlassError } from '../../errors.ts';
import { verifySignature } from '../identity-signature.ts';
import { canTalk, type PeerId, type SignedMember } from '../member.ts';
import { isGenuine, type MemberEntry, readMember, signedMemberSchema } from '../member-entry.ts';
import { receiveMessage, sendMessage } from './framed-message.ts';

export const HELLO_PROTOCOL = '/windlass/hello/1';
const MAX_BYTES = 8 * 1024;
const BOUND_MS = 5_000;

/** Later versions may say more. */
const helloSchema = z.object({ entry: signedMemberSchema });

export interface HelloOptions {
  readonly selfEntry: () => SignedMember;
  /** Of this agent. It talks to the one before, and so the one after talks to it. */
  readonly wireVersion: number;
}

/**
 * The first words on each connection, exchanged once by whoever dialled:
 *
 *   dialler ── { entry } ──▶ listener ── { entry } ──▶ dialler
 *
 * Both sides check that the entry is signed by the peer at the other end, and its wire version. A version too far away
 * is answered before the connection is closed, so that both say so in their logs.
 *
 * @returns the other's entry. @throws PEER_NONSENSE; PEER_DENIED where the wire versions are too far apart; PEER_GONE,
 *   PEER_SILENT.
 */
export async function sayHello(connection: Connection, options: HelloOptions): Promise<MemberEntry> {
  const bound = AbortSignal.timeout(BOUND_MS);
  const stream = await connection.newStream(HELLO_PROTOCOL, { signal: bound }).catch((cause: unknown) => {
    throw new WindlassError('PEER_GONE', 'the connection ended before the hello', { cause });
  });
  return within(stream, bound, async () => {
    sendMessage(stream, { entry: options.selfEntry() });
    return check(await receiveMessage(stream, MAX_BYTES), connection.remotePeer.toString(), options.wireVersion);
  });
}

/** The other side of it. */
export async function answerHello(stream: Stream, connection: Connection, options: HelloOptions): Promise<MemberEntry> {
  return within(stream, AbortSignal.timeout(BOUND_MS), async () => {
    const message = await receiveMessage(stream, MAX_BYTES);
    sendMessage(stream, { entry: options.selfEntry() });
    return check(message, connection.remotePeer.toString(), options.wireVersion);
  });
}

async function within(stream: Stream, bound: AbortSignal, exchange: () => Promise<MemberEntry>): Promise<MemberEntry> {
  const silent = () => stream.abort(new WindlassError('PEER_SILENT', 'no hello within the bound'));
  bound.addEventListener('abort', silent);
  try {
    return await exchange();
  } catch (error) {
    if (bound.aborted) throw new WindlassError('PEER_SILENT', 'no hello within the bound', { cause: error });
    throw error;
  } finally {
    bound.removeEventListener('abort', silent);
    // Both have said all; whoever is slow to take it is not waited for.
    await stream.close({ signal: AbortSignal.timeout(1_000) }).catch((error: Error) => stream.abort(error));
  }
}

function check(message: unknown, from: PeerId, wireVersion: number): MemberEntry {
  const hello = helloSchema.safeParse(message);
  const entry = hello.success ? readMember(hello.data.entry) : undefined;
  if (entry?.member.peerId !== from || !isGenuine(entry, verifySignature)) {
    throw new WindlassError('PEER_NONSENSE', 'its hello makes no sense, or is not its own');
  }
  const theirs = entry.member.wireVersion;
  if (!canTalk(theirs, wireVersion)) {
    const message = `it speaks wire version ${theirs}, this agent ${wireVersion}: versions next to each other can talk`;
    throw new WindlassError('PEER_DENIED', message);
  }
  return entry;
}

export function isVersionGap(error: unknown): boolean {
  return hasCode(error, 'PEER_DENIED');
}
