import type { PeerId } from '../../routing/member.ts';
import type { Entry } from './entry.ts';
import type { Grant } from './grants.ts';
import type { KeeperContext, TakeoverReason } from './keeper-context.ts';
import type { Report } from './messages.ts';
import { Rates } from './rates.ts';

/**
 * A deputy hears of renewals by copies alone: one so old, and a renewal's way to it once the keeper is gone, are less than
 * a lease. Else it would take the writer's for over, and let whoever comes next ask upstream again.
 */
const COPY_AGAIN_MS = 2_000;

/** What a report does to its key. @returns its answer, and whether claims that wait are to be looked at again. */
export function take(
  entry: Entry,
  context: KeeperContext,
  peerId: PeerId,
  report: Report,
): { readonly answer: 'ok' | 'lost'; readonly changed: boolean } {
  if (report.sizeBytes !== undefined) entry.sizeBytes = report.sizeBytes;
  switch (report.state) {
    case 'writing':
      return renew(entry, context, peerId, report);
    case 'held':
      return hold(entry, context, peerId, report);
    case 'failed':
      return fail(entry, context, peerId, report);
    case 'left':
      return leave(entry, context, peerId, report);
  }
}

function renew(entry: Entry, context: KeeperContext, peerId: PeerId, report: Report) {
  const nowMs = context.timers.now();
  const { rival } = entry.grants;
  const before = entry.grants.of(peerId, report.incarnation);
  const opening = before?.phase === 'opening';
  const isRead = (entry.tree.get(peerId)?.children.size ?? 0) > 0;
  const { answer, ended, settled } = entry.grants.renew(report, { peerId, isRead, nowMs });
  const grant = entry.grants.of(peerId, report.incarnation);
  const registry = Rates.registryOf(report.source);
  context.rates.noteCarries(report.carries);
  if (report.rate !== undefined && answer === 'ok')
    context.rates.noteWriter(registry, report.grant ?? peerId, report.rate, nowMs);
  if (grant !== undefined && opening && grant.phase !== 'opening') {
    context.rates.noteFirstByte(registry, nowMs - grant.grantedAtMs);
  }
  if (ended !== undefined) {
    const reason = whyItEnded(ended, grant, rival);
    if (reason !== undefined) context.metrics.takeovers.inc({ reason });
    const seat = entry.tree.get(ended.peerId);
    if (seat?.root === 'writer') entry.tree.detach(seat);
    context.revoked(entry, ended);
  }
  const adopted = grant !== undefined && before === undefined;
  if (adopted && !entry.isTag) {
    const zone = context.roster.get(peerId)?.zone ?? '';
    const seat = entry.tree.seat(peerId, report.incarnation, zone);
    seat.heardAtMs = nowMs;
    entry.tree.makeRoot(seat, 'writer');
  }
  if (report.strained === true) {
    context.complaints.noteStrained(peerId, nowMs);
    entry.tree.get(peerId)?.heed(context.complaints);
  }
  if (adopted || ended !== undefined) context.changed(entry, true);
  else if (answer === 'ok' && nowMs - entry.copiedAtMs >= COPY_AGAIN_MS) {
    entry.copiedAtMs = nowMs;
    context.changed(entry, false);
  }
  return { answer, changed: adopted || settled || ended !== undefined };
}

/** Of two that wrote. @returns undefined where nothing was taken over: a rival that was ahead is no more */
function whyItEnded(ended: Grant, by: Grant | undefined, rival: Grant | undefined): TakeoverReason | undefined {
  if (ended === rival && ended.isAhead) return undefined;
  return by === rival && by?.isAhead === true ? 'shorter' : 'stalled';
}

function hold(entry: Entry, context: KeeperContext, peerId: PeerId, report: Report) {
  const nowMs = context.timers.now();
  const own = entry.grants.of(peerId, report.incarnation);
  if (own !== undefined) {
    const rival = entry.grants.rival;
    const other = rival === own ? entry.grants.writer : rival;
    entry.end(own, true);
    // One of two has it all: the other one reads.
    if (other !== undefined) endOther(entry, context, other);
    entry.failures.forget(report.source);
  }
  if (report.bytes !== undefined) {
    const bytes = Buffer.from(report.bytes, 'base64');
    const ageMs = report.ageMs ?? 0;
    const kept = context.inline.set(entry.key, bytes, ageMs, nowMs);
    if (kept && entry.isTag) context.index.setLastKnown(entry.key, { bytes, ageMs });
  }
  context.logger.debug({ key: entry.key, peer: peerId }, 'held');
  if (!entry.isTag) {
    context.index.add(entry.key, peerId);
    const seat = entry.tree.get(peerId);
    // What is below it stays there.
    if (seat !== undefined) entry.tree.makeRoot(seat, 'holder');
  }
  context.changed(entry, own !== undefined);
  return { answer: 'ok' as const, changed: true };
}

function endOther(entry: Entry, context: KeeperContext, other: Grant): void {
  entry.end(other, false);
  context.revoked(entry, other);
}

function fail(entry: Entry, context: KeeperContext, peerId: PeerId, report: Report) {
  const own = entry.grants.of(peerId, report.incarnation);
  // Only who had the right can know what upstream says.
  if (own === undefined || (report.grant !== undefined && report.grant !== own.id)) {
    return { answer: 'ok' as const, changed: report.grant !== undefined && entry.grants.settle(report.grant) };
  }
  const { writer, rival } = entry.grants;
  entry.end(own, true);
  if (own === rival && own.isAhead) {
    // The writer lost nothing, and what upstream says of that source it is saying to the writer.
    if (writer?.source === report.source) return { answer: 'ok' as const, changed: true };
  } else context.metrics.takeovers.inc({ reason: 'failed' });
  const { code = 'UPSTREAM_UNAVAILABLE', message = '', upstreamStatus, retryAfterMs } = report;
  if (entry.isTag && code === 'NOT_FOUND') {
    // It was deleted: what it named is not to come back in an outage.
    context.inline.delete(entry.key);
    context.index.forget(entry.key);
  }
  const nodes = context.roster.members().length;
  const failed = { code, message, upstreamStatus, retryAfterMs };
  entry.failures.add(report.source, failed, peerId, nodes, context.timers.now());
  context.changed(entry, true);
  return { answer: 'ok' as const, changed: true };
}

function leave(entry: Entry, context: KeeperContext, peerId: PeerId, report: Report) {
  const own = entry.grants.of(peerId, report.incarnation);
  const settled = report.grant !== undefined && entry.grants.settle(report.grant);
  if (own !== undefined) {
    if (report.grant !== undefined && report.grant !== own.id) return { answer: 'ok' as const, changed: settled };
    const hadNothingYet = own === entry.grants.rival && own.isAhead;
    entry.end(own, true);
    if (!hadNothingYet) context.metrics.takeovers.inc({ reason: 'left' });
  }
  const seat = entry.tree.get(peerId);
  if (seat !== undefined && seat.root !== 'holder') entry.tree.remove(peerId);
  context.changed(entry, own !== undefined);
  return { answer: 'ok' as const, changed: own !== undefined || settled };
}
