import type { PeerId } from '../../routing/member.ts';
import type { Entry } from './entry.ts';
import { type Failure, Failures } from './failures.ts';
import { fanOut } from './fan-out.ts';
import { type Grant, isSilent, newGrant } from './grants.ts';
import { heed, isAboutUplink, isChance, pass } from './grievances.ts';
import { joinChain } from './join-chain.ts';
import type { KeeperContext } from './keeper-context.ts';
import { hasFarMore } from './longer-prefix.ts';
import { type Claim, type ClaimAnswer, type FailedPeer, INLINE_BYTES, LEASE_MS, type Parent } from './messages.ts';
import type { Seat } from './seat.ts';
import { nowhereFor, reasonToWriteBeside } from './takeover.ts';

/** So far behind the writer a reader is late. */
const LATE_BYTES = 32 * 1024 * 1024;
/** A writer that renewed so lately lives and is reached, whatever a child hears from it: renewals come each second. */
const HEARD_MS = 1_500;
/** Holders named behind the seat's parent, should that not have it. */
const MORE_HOLDERS = 3;
/** Who waits so long because all that could be its parents have failed it tries them again. */
const STRANDED_MS = 5_000;
/** Of those that the index knows. */
const MAX_HOLDERS = 16;

export interface Asked {
  readonly peerId: PeerId;
  readonly claim: Claim;
  /** When the claim came. */
  readonly sinceMs: number;
}

/**
 * What a claim is to be told now; undefined: nothing yet. In this order:
 *
 * ```
 *   refused to this source (401, 403, 404) ─▶ failed          lest a claim opens what upstream would not
 *   small bytes here, fresh enough ─────────▶ bytes
 *   the right is the claimer's already ─────▶ write
 *   it has far more than the writer ────────▶ write, beside it
 *   the writer renews, but has stalled ─────▶ write, beside it
 *   it does not renew, and its readers wait ▶ write, beside it
 *   small bytes on their way ───────────────▶ (held)
 *   a holder, or a seat in a writer's tree ─▶ read
 *   somebody writes ────────────────────────▶ (held)                 unless nobody here knows where
 *   refused to this source, otherwise ──────▶ read from a doubtful holder, else failed (and the last known answer)
 *   two that lost the right may still write ▶ (held)
 *   the claimer yields to others ───────────▶ (held)          for its waitMs
 *   nobody writes ──────────────────────────▶ write
 * ```
 */
export function verdict(entry: Entry, context: KeeperContext, asked: Asked): ClaimAnswer | undefined {
  const { peerId, claim } = asked;
  const { grants, failures } = entry;
  const nowMs = context.timers.now();
  for (const over of entry.expire(nowMs)) {
    context.metrics.takeovers.inc({ reason: 'silent' });
    context.logger.info({ key: entry.key, peer: over.peerId }, 'lease is over');
  }
  heed(entry, context, asked);
  const failure = failures.for(claim.source, peerId, nowMs);
  if (failure !== undefined && Failures.isAboutAccess(failure)) return failed(entry, context, failure, nowMs);
  const inline = claim.inline ? context.inline.get(entry.key, nowMs) : undefined;
  if (inline !== undefined && isFreshEnough(inline.ageMs, asked, nowMs)) {
    return { kind: 'bytes', bytes: Buffer.from(inline.bytes).toString('base64'), ageMs: inline.ageMs };
  }
  const own = grants.of(peerId, claim.incarnation);
  if (own !== undefined) return write(own, context);
  const holders = entry.isTag ? [] : seatHolders(entry, context, peerId);
  const writer = grants.writer;
  const comesInline = claim.inline && (entry.isTag || (entry.sizeBytes ?? 0) <= INLINE_BYTES) && holders.length === 0;
  if (writer !== undefined && failure === undefined && grants.mayIssue(nowMs)) {
    if (hasFarMore(entry, context, asked, { holders, nowMs })) return grant(entry, context, asked, nowMs, true);
    const reason = reasonToWriteBeside(writer, context, claim, { holders, nowMs });
    if (reason !== undefined) {
      context.metrics.takeovers.inc({ reason });
      return grant(entry, context, asked, nowMs);
    }
  }
  if (writer !== undefined && comesInline) return undefined;
  const parent = entry.isTag ? undefined : findParent(entry, context, asked, writer === undefined);
  if (parent !== undefined) return read(entry, context, asked, parent);
  const nowhere = nowhereFor(entry, context, asked, nowMs);
  if (writer !== undefined && nowhere === undefined) return undefined;
  if (failure !== undefined) {
    const doubtful = entry.isTag ? undefined : findParent(entry, context, asked, false);
    return doubtful === undefined ? failed(entry, context, failure, nowMs) : read(entry, context, asked, doubtful);
  }
  if (!grants.mayIssue(nowMs)) return undefined;
  if (
    claim.yields === true &&
    claim.waitMs > 0 &&
    (claim.strained === true || fanOut(context, claim, entry.sizeBytes) > 1)
  ) {
    // But chains are better off in one order, below one writer that can feed them.
    return undefined;
  }
  if (nowhere !== undefined) pass(entry, context, nowhere, 'silent');
  return grant(entry, context, asked, nowMs);
}

/** @param strict only those of whom nobody complained lately. */
function findParent(entry: Entry, context: KeeperContext, asked: Asked, strict: boolean): Seat | undefined {
  const { peerId, claim } = asked;
  const { tree, grants } = entry;
  const nowMs = context.timers.now();
  const seat = seatOf(entry, context, asked, nowMs);
  seat.arrive();
  if (claim.failed.length > 0) seat.giveBack();
  const stranded = nowMs - (seat.strandedSinceMs ?? nowMs) >= STRANDED_MS;
  const stillFails = ({ peerId: other, why }: FailedPeer) => {
    // Who was full is asked again when it may have room.
    if (why === 'full') return tree.get(other)?.isClosed(nowMs) ?? true;
    // A writer keeps its seat where it sends what it can, but for a child that it is relieved of (grievances.ts).
    if (isAboutUplink(why) && tree.get(other)?.root === 'writer') return false;
    if (why === 'slow' && seat.parent?.peerId === other && isChance(entry, context, claim, seat)) return false;
    return !stranded || why === 'wrong' || why === 'missing';
  };
  const complained = claim.failed.filter(stillFails);
  const failed = new Set(complained.filter(({ why }) => !isAboutUplink(why)).map((one) => one.peerId));
  const slow = new Set(complained.filter(({ why }) => isAboutUplink(why)).map((one) => one.peerId));
  const silent = new Set(complained.filter(({ why }) => why === 'silent').map((one) => one.peerId));
  for (const other of seat.triedAgain) if (!silent.has(other)) seat.triedAgain.delete(other);
  // A writer that leaves the cluster in order is not live any more, and still sends what it writes.
  // Whose address nobody knows here any more, or yet, nobody can be sent to.
  const isUp = (other: PeerId) =>
    context.roster.get(other) !== undefined && (context.roster.isLive(other) || grants.isHeldBy(other));
  const isThere = (other: PeerId) => other !== peerId && !failed.has(other) && isUp(other);
  const isUsable = (other: PeerId) => isThere(other) && !slow.has(other);
  if (seat.parent !== undefined && isUsable(seat.parent.peerId) && tree.isRooted(seat)) return seat.parent;
  const sizeBytes = entry.sizeBytes;
  const choice = {
    fanOut: fanOut(context, claim, sizeBytes),
    nowMs,
    late: (grants.writer?.prefix ?? 0) > claim.prefix + LATE_BYTES,
  };
  const isHeard = (other: PeerId) => {
    const root = tree.get(other)?.top();
    const grant = [grants.writer, grants.rival].find((one) => one?.peerId === root?.peerId);
    return root?.root !== 'writer' || grant === undefined || !isSilent(grant, nowMs);
  };
  const isKnownToLive = (other: PeerId) => {
    if (tree.get(other)?.root === 'holder') return context.roster.isLive(other);
    return [grants.writer, grants.rival].some((one) => one?.peerId === other && nowMs - one.renewedAtMs <= HEARD_MS);
  };
  const trusted = (other: PeerId) => isUsable(other) && isHeard(other) && !context.complaints.isDoubted(other, nowMs);
  const inChain = choice.fanOut === 1 ? joinChain(entry, context, seat, { ...choice, usable: trusted }) : undefined;
  if (inChain !== undefined) {
    noteSeated(entry, context, seat, choice);
    return inChain;
  }
  // Of a writer that renews it is known that it can be reached, of its readers it is not.
  const writer =
    claim.alone === true ? [grants.rival, grants.writer].find((one) => one && trusted(one.peerId)) : undefined;
  const best = tree.choose(seat, { ...choice, usable: trusted });
  const parent =
    (writer !== undefined && best?.root !== 'holder' ? tree.get(writer.peerId) : undefined) ??
    best ??
    (strict ? undefined : tree.choose(seat, { ...choice, usable: isUsable })) ??
    // Slow is better than a second time from upstream.
    tree.choose(seat, { ...choice, usable: (other) => slow.has(other) && isThere(other) }) ??
    // So is a new connection: it may be the old one alone that was silent.
    tree.choose(seat, {
      ...choice,
      usable: (other) => silent.has(other) && !seat.triedAgain.has(other) && isKnownToLive(other),
    });
  if (parent === undefined || !tree.move(seat, parent)) {
    seat.strandedSinceMs ??= nowMs;
    return undefined;
  }
  if (silent.has(parent.peerId)) seat.triedAgain.add(parent.peerId);
  noteSeated(entry, context, seat, choice);
  return parent;
}

function noteSeated(entry: Entry, context: KeeperContext, seat: Seat, { fanOut }: { readonly fanOut: number }): void {
  const { key } = entry;
  context.logger.debug({ key, peer: seat.peerId, parent: seat.parent?.peerId, fanOut }, 'seated');
  context.changed(entry, false);
}

function seatOf(entry: Entry, context: KeeperContext, { peerId, claim }: Asked, nowMs: number): Seat {
  const seat = entry.tree.seat(peerId, claim.incarnation, claim.zone);
  // It asks, so it neither holds nor (as its grant was looked for before) writes.
  seat.root = undefined;
  seat.heardAtMs = nowMs;
  const isFirst = seat.lastParent === undefined && claim.prefix === 0 && claim.failed.length === 0;
  if (isFirst) seat.joinedAtMs = nowMs;
  seat.heed(context.complaints);
  return seat;
}

/** Those that the index knows get a place as roots. @returns the live ones. */
function seatHolders(entry: Entry, context: KeeperContext, asking: PeerId): PeerId[] {
  const { index, roster } = context;
  const zone = roster.get(asking)?.zone;
  if (index.holders(entry.key).length === 0) {
    // A keeper that became one a moment ago, or lost what it was told, may yet have heard of a holder. Of who writes or
    // reads it, it knows better.
    for (const peerId of context.heard(entry.key.slice('blob:'.length))) {
      if (entry.tree.get(peerId) === undefined) index.addByHearsay(entry.key, peerId);
    }
  }
  const holders = index.holders(entry.key).filter((peerId) => {
    if (peerId !== asking) return roster.isLive(peerId);
    index.remove(entry.key, peerId); // It asks for it, so it has it no more.
    return false;
  });
  if (holders.length > MAX_HOLDERS) {
    const near = (peerId: PeerId) => (roster.get(peerId)?.zone === zone ? 0 : 1);
    holders.sort((a, b) => near(a) - near(b));
    holders.length = MAX_HOLDERS;
  }
  for (const peerId of holders) {
    const member = roster.get(peerId);
    if (member === undefined) continue;
    const seat = entry.tree.seat(peerId, member.incarnation, member.zone);
    seat.heardAtMs = context.timers.now();
    seat.heed(context.complaints);
    if (seat.root !== 'holder') entry.tree.makeRoot(seat, 'holder');
  }
  return holders;
}

function isFreshEnough(ageMs: number, { claim, sinceMs }: Asked, nowMs: number): boolean {
  // What came while the claim waited is as fresh as if it had been asked for.
  return claim.maxAgeMs === undefined || ageMs <= claim.maxAgeMs || ageMs <= nowMs - sinceMs;
}

/** @param isAhead of the writer that there is. */
function grant(entry: Entry, context: KeeperContext, asked: Asked, nowMs: number, isAhead = false): ClaimAnswer {
  const { peerId, claim } = asked;
  const { incarnation, source, prefix } = claim;
  const given = newGrant(context.newId(), { peerId, incarnation, source, prefix }, nowMs);
  entry.grants.add({ ...given, isAhead });
  if (!entry.isTag) entry.tree.makeRoot(seatOf(entry, context, asked, nowMs), 'writer');
  context.logger.debug({ key: entry.key, peer: peerId, grant: given.id, prefix }, 'granted');
  context.changed(entry, true);
  return write(given, context);
}

function write({ id }: Grant, { rates: { carries } }: KeeperContext): ClaimAnswer {
  return { kind: 'write', grant: id, leaseMs: LEASE_MS, ...(carries === undefined ? {} : { carries }) };
}

function read(entry: Entry, context: KeeperContext, { peerId, claim }: Asked, parent: Seat): ClaimAnswer {
  const failed = new Set(claim.failed.map((one) => one.peerId));
  const nowMs = context.timers.now();
  const load = { fanOut: 2, nowMs };
  // Who is to stay with a parent that it calls slow is not to take another one behind it.
  const stays = claim.failed.some((one) => one.peerId === parent.peerId && isAboutUplink(one.why));
  const others = stays && parent.root === undefined ? [] : [...entry.tree.seats()];
  const more = others
    .filter((seat) => seat.root === 'holder' && seat !== parent && seat.peerId !== peerId && !failed.has(seat.peerId))
    .filter((seat) => !context.complaints.isDoubted(seat.peerId, nowMs))
    .sort((a, b) => cost(a, claim.zone, load) - cost(b, claim.zone, load))
    .slice(0, MORE_HOLDERS);
  const parents = [parent, ...more].flatMap((seat): Parent[] => {
    const dataAddress = context.roster.get(seat.peerId)?.dataAddress;
    return dataAddress === undefined ? [] : [{ peerId: seat.peerId, dataAddress, role: seat.root ?? 'relay' }];
  });
  const replaces = entry.tree.get(peerId)?.replaces;
  const { carries } = context.rates;
  return {
    kind: 'read',
    parents,
    ...(entry.sizeBytes === undefined ? {} : { sizeBytes: entry.sizeBytes }),
    ...(replaces === undefined ? {} : { replaces }),
    ...(carries === undefined ? {} : { carries }),
  };
}

function cost(seat: Seat, zone: string, load: { fanOut: number; nowMs: number }): number {
  return (seat.isFree(load) ? 0 : 2) + (seat.zone === zone ? 0 : 1);
}

function failed(entry: Entry, context: KeeperContext, failure: Failure, nowMs: number): ClaimAnswer {
  const known = Failures.isAboutAccess(failure) ? undefined : context.index.lastKnown(entry.key);
  const { code, message, upstreamStatus, untilMs } = failure;
  return {
    kind: 'failed',
    code,
    message,
    ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
    retryAfterMs: Math.max(0, untilMs - nowMs),
    ...(known === undefined
      ? {}
      : { stale: { bytes: Buffer.from(known.bytes).toString('base64'), ageMs: known.ageMs } }),
  };
}
