import type { PeerId } from '../../routing/member.ts';
import type { Entry } from './entry.ts';
import { type Grant, isSilent } from './grants.ts';
import type { KeeperContext, TakeoverReason } from './keeper-context.ts';
import type { Claim } from './messages.ts';
import { Rates } from './rates.ts';
import type { Asked } from './verdict.ts';

const STALLED_MS = 10_000;
/** Some registries take 20 s to the first byte of a blob: not to be asked twice for that, before it is known. */
const OPENING_MS = 30_000;
/** Hashing a large blob at the end moves no prefix. */
const VERIFYING_MS = 60_000;
/** News of a member that joins comes within a second or two; it is not waited for until rosters are compared. */
const UNKNOWN_MS = 2_500;

/**
 * Behind a partition are the writer and many of its readers. Each of those is silent for whoever is told to read from
 * it, one after the other: before everybody on this side has lost its patience, one of them writes. Unless there is a
 * holder left to try.
 */
export function reasonToWriteBeside(
  writer: Grant,
  context: KeeperContext,
  { alone, failed }: Claim,
  { holders, nowMs }: { readonly holders: readonly PeerId[]; readonly nowMs: number },
): TakeoverReason | undefined {
  if (hasStalled(writer, context, nowMs)) return 'stalled';
  const { complaints } = context;
  const isFailed = (holder: PeerId) => failed.some(({ peerId }) => peerId === holder);
  if (holders.some((holder) => !isFailed(holder) && !complaints.isDoubted(holder, nowMs))) return undefined;
  const writerFailed = alone === true && failed.some(({ peerId }) => peerId === writer.peerId);
  const someoneIsSilent = failed.some(({ why }) => why === 'silent');
  return writerFailed || (someoneIsSilent && isSilent(writer, nowMs)) ? 'silent' : undefined;
}

/**
 * Nobody can be sent to the writer: it is no member that is known here, and would be by now, as long as this one waits.
 * Who is no such member either does not wait here: its seat is swept each second.
 */
export function nowhereFor(
  { tree, grants }: Entry,
  { roster }: KeeperContext,
  { peerId }: Asked,
  nowMs: number,
): Grant | undefined {
  const { writer } = grants;
  if (writer === undefined || roster.get(writer.peerId) !== undefined) return undefined;
  const waitsMs = nowMs - (tree.get(peerId)?.strandedSinceMs ?? nowMs);
  return waitsMs >= UNKNOWN_MS && grants.mayPassOn(nowMs) ? writer : undefined;
}

/** A rival that was ahead, and got nothing for so long, is in the way of who would write where the writer stalls. */
export function endHopeless(entry: Entry, context: KeeperContext, nowMs: number): void {
  const { rival } = entry.grants;
  if (rival?.isAhead !== true || nowMs - rival.progressAtMs <= STALLED_MS) return;
  entry.end(rival, false);
  context.revoked(entry, rival);
  context.changed(entry, true);
}

function hasStalled(writer: Grant, { rates }: KeeperContext, nowMs: number): boolean {
  const usualMs = rates.usualFirstByteMs(Rates.registryOf(writer.source));
  const opensForTheFirstTime = writer.phase === 'opening' && usualMs === 0;
  const patienceMs =
    writer.phase === 'verifying' ? VERIFYING_MS : Math.max(opensForTheFirstTime ? OPENING_MS : STALLED_MS, 5 * usualMs);
  return nowMs - writer.progressAtMs > patienceMs;
}
