import type { Entry } from './entry.ts';
import { fanOut } from './fan-out.ts';
import { type Grant, isSilent } from './grants.ts';
import type { KeeperContext, TakeoverReason } from './keeper-context.ts';
import type { Claim, FailedPeer } from './messages.ts';
import type { Seat } from './seat.ts';
import type { Asked } from './verdict.ts';

const FULL_MS = 2_000;
/**
 * A writer that sends too little loses its right after so many renewals in a row, in which it got so many bytes: at
 * first its children are still coming, it sends by whole pieces, and a change of writers costs what the others lack.
 */
const SLOW_RENEWALS = 3;
const SLOW_BYTES = 4 * 1024 * 1024;
/** Where all links are full what a blob gets is chance; but not for so many renewals in a row. */
const SLOW_RENEWALS_IN_CHAIN = 8;
/** Of the blob: no more than this may be asked for again to be rid of a slow writer. Once from upstream goes before time. */
const AGAIN_SHARE = 0.1;
/** A writer that sends less than this share of what it gets, times its children, has too many of them. */
const FEEDS_SHARE = 0.8;
/** An uplink of less than this share of the claimer's is a slow one. */
const SLOWER_SHARE = 0.5;
/** For so long it gets no others. */
const RELIEVED_MS = 60_000;
const RELIEF_FAN_OUT = 2;

/**
 * What a claim says of others, and what follows for the tree and the grants. Only what is said of one's own parent
 * moves anything; so a list of failed peers that grows, or a claim asked again, does nothing twice. But any holder that
 * is full gets no children for a moment: of several that are named at once each is asked, and one alone is the parent.
 *
 * ```
 *   of the writer     broken, wrong, missing ─▶ the right passes on at once (the old writer is told; see Grants)
 *                     silent, failed ─▶ the same, if its last renewal is older than 2.5 s; else another parent
 *                     slow ─▶ the same, if all that it sends was under 0.3 of what it gets, for three renewals with a
 *                             child, eight where a chain is to be; the claimer has an uplink of twice its own, and all but a tenth
 *                             of the blob of what it has; else,
 *                             where it cannot feed all its children, and the claimer has an uplink of twice its own,
 *                             the claimer is seated below another of them
 *                     strained ─▶ the claimer is seated below another of them
 *   of a relay        broken, silent, wrong, failed ─▶ off its parent; the claimer gets another seat
 *                     cycle ─▶ the claimer gets another seat: what is above the parent has not moved yet
 *                     slow, strained ─▶ the claimer takes its seat under the grandparent; it is a leaf for a minute. But
 *                             where a chain is to be, slow moves nobody, until it has been so for long
 *   of anybody        full ─▶ no new children for 2 s;  missing ─▶ no holder any more
 * ```
 * @param asked.sinceMs when the claim came: it may be looked at again later.
 */
export function heed(entry: Entry, context: KeeperContext, { peerId, claim, sinceMs }: Asked): void {
  const seat = entry.tree.get(peerId);
  for (const { peerId: about, why } of claim.failed) {
    if (about === peerId) continue;
    const writer = [entry.grants.writer, entry.grants.rival].find((grant) => grant?.peerId === about);
    if (writer !== undefined) {
      heedOfWriter(entry, context, { seat, writer, why, claim });
      continue;
    }
    const parent = seat?.parent;
    const named = entry.tree.get(about);
    // It was named as one more to try, behind the parent.
    if (why === 'full' && named?.root === 'holder' && named !== parent) close(named, sinceMs);
    if (seat === undefined || parent?.peerId !== about) continue;
    if (why === 'full') leaveFull(seat, parent, context);
    else if (isAboutUplink(why)) {
      if (why === 'slow') seat.noteSlow(sinceMs);
      if (why !== 'slow' || !isChance(entry, context, claim, seat)) evict(entry, context, seat, parent, claim);
    } else if (parent.root === undefined && why !== 'cycle') entry.tree.detach(parent);
    else seat.attach(undefined);
  }
}

function heedOfWriter(
  entry: Entry,
  context: KeeperContext,
  { seat, writer, why, claim }: { seat: Seat | undefined; writer: Grant; why: FailedPeer['why']; claim: Claim },
): void {
  // Who reads from another by now, or came with an old list, moves nothing. Who is not known here may be a child.
  if (seat !== undefined && (seat.parent?.peerId ?? seat.lastParent) !== writer.peerId) return;
  const nowMs = context.timers.now();
  if (why === 'full' && seat?.parent !== undefined) leaveFull(seat, seat.parent, context);
  const isChain = fanOut(context, claim, entry.sizeBytes) === 1;
  const again = Math.max(0, writer.prefix - claim.prefix);
  const isBetter = hasBetterUplink(claim, writer) && again <= AGAIN_SHARE * (entry.sizeBytes ?? 0);
  const reason = reasonToPassOn(writer, why, { isChain, isBetter, nowMs });
  if (reason === undefined && isAboutUplink(why) && seat !== undefined) {
    relieve(entry, context, { seat, writer, claim, strained: why === 'strained' });
  }
  if (reason === undefined || !entry.grants.mayPassOn(nowMs)) return;
  if (reason === 'slow') context.complaints[isChain ? 'noteStrained' : 'noteSlow'](writer.peerId, nowMs);
  pass(entry, context, writer, reason);
}

function reasonToPassOn(
  writer: Grant,
  why: FailedPeer['why'],
  { isChain, isBetter, nowMs }: { readonly isChain: boolean; readonly isBetter: boolean; readonly nowMs: number },
): TakeoverReason | undefined {
  switch (why) {
    case 'broken':
    case 'wrong':
    case 'missing':
      return 'broken';
    case 'silent':
    case 'failed':
      return isSilent(writer, nowMs) ? 'silent' : undefined;
    case 'slow': {
      const enough = isChain ? SLOW_RENEWALS_IN_CHAIN : SLOW_RENEWALS;
      // Where all send less than upstream gives, as with `peer.uploadRate`, each would take it from the one before.
      return isBetter && writer.slow.renewals >= enough && writer.slow.bytes >= SLOW_BYTES ? 'slow' : undefined;
    }
    default:
      return undefined;
  }
}

/** Is it the parent's uplink that is complained of? It sends what it can. */
export function isAboutUplink(why: FailedPeer['why']): why is 'slow' | 'strained' {
  return why === 'slow' || why === 'strained';
}

/**
 * Is it by chance that a relay is slow for the child on that seat? Where upstream fills an uplink all links are full: of the
 * blobs that share one, now this gets little and now that, and all of what it carries is used. Another parent would have no
 * more, and what was on its way from this one would be lost. Unless it goes on; or the parent itself says that it is strained.
 */
export function isChance(entry: Entry, context: KeeperContext, claim: Claim, seat: Seat): boolean {
  const isRelay = seat.parent?.root === undefined;
  return isRelay && !seat.isParentSlowForLong && fanOut(context, claim, entry.sizeBytes) === 1;
}

/**
 * What was sent says what a link can do: who sent more, once, would do better; of the best of all that says nothing.
 */
function isOverloaded({ rate, output, uplink }: Grant, children: number, claim: Claim): boolean {
  if (rate === undefined || output === undefined || output >= FEEDS_SHARE * rate * children) return false;
  return hasBetterUplink(claim, { uplink });
}

function hasBetterUplink(claim: Claim, { uplink }: Pick<Grant, 'uplink'>): boolean {
  return uplink !== undefined && uplink < SLOWER_SHARE * (claim.uplink ?? 0);
}

/** Takes the right from a writer that may be alive. */
export function pass(entry: Entry, context: KeeperContext, grant: Grant, reason: TakeoverReason): void {
  entry.end(grant, false);
  context.metrics.takeovers.inc({ reason });
  context.logger.info({ key: entry.key, peer: grant.peerId, reason, prefix: grant.prefix }, 'writer lost its right');
  context.revoked(entry, grant);
  context.changed(entry, true);
}

/**
 * Its uplink is shared by too many: the claimer goes below one of its siblings, which gets more by that. Where none of
 * its zone has room that it has no complaint of, it stays.
 */
function relieve(
  entry: Entry,
  { roster, complaints, timers, logger }: KeeperContext,
  { seat, writer, claim, strained }: { seat: Seat; writer: Grant; claim: Claim; strained: boolean },
): void {
  const { parent } = seat;
  if (parent === undefined || !(strained || isOverloaded(writer, parent.children.size, claim))) return;
  const nowMs = timers.now();
  const failed = new Set(claim.failed.map(({ peerId }) => peerId));
  const isGood = (one: Seat) =>
    one.zone === seat.zone &&
    one.isFree({ fanOut: RELIEF_FAN_OUT, nowMs }) &&
    roster.isLive(one.peerId) &&
    !failed.has(one.peerId) &&
    !complaints.isDoubted(one.peerId, nowMs);
  const below = [...parent.children].filter((one) => one !== seat);
  for (let i = 0; i < below.length; i += 1) below.push(...(below[i]?.children ?? []));
  const other = below.find(isGood);
  if (other === undefined || !entry.tree.move(seat, other)) return;
  parent.close(nowMs + RELIEVED_MS);
  logger.info(
    { key: entry.key, peer: parent.peerId, child: seat.peerId, below: other.peerId },
    'slow writer has one child less',
  );
}

/** It leaves, so that the same word does not close the parent once more when the claim is looked at again. */
function leaveFull(seat: Seat, parent: Seat, context: KeeperContext): void {
  close(parent, context.timers.now());
  seat.attach(undefined);
}

function close(seat: Seat, sinceMs: number): void {
  seat.closeAsFull(sinceMs + FULL_MS);
}

/** The child takes its parent's seat, if that has a parent of its own. */
function evict(entry: Entry, context: KeeperContext, seat: Seat, parent: Seat, claim: Claim): void {
  const nowMs = context.timers.now();
  // Who is strained in a tree says so itself, with all that it claims.
  const isChain = fanOut(context, claim, entry.sizeBytes) === 1;
  context.complaints[isChain ? 'noteStrained' : 'noteSlow'](parent.peerId, nowMs);
  parent.heed(context.complaints);
  const above = parent.parent;
  // That a writer was slow once says nothing: it sends what it can.
  const isAgainst = ({ peerId, why }: FailedPeer) =>
    peerId === above?.peerId && !(isAboutUplink(why) && above.root === 'writer');
  const mayUse = above !== undefined && !claim.failed.some(isAgainst);
  if (above === undefined || !mayUse || !context.roster.isLive(above.peerId)) {
    seat.attach(undefined);
    return;
  }
  entry.tree.detach(parent);
  entry.tree.move(seat, above);
  seat.replaces = parent.peerId;
  context.logger.info({ key: entry.key, peer: parent.peerId, child: seat.peerId }, 'slow parent lost its seat');
}
