import type { Entry } from './entry.ts';
import { type Grant, newGrant } from './grants.ts';
import type { KeeperContext } from './keeper-context.ts';
import { type Copy, INLINE_BYTES, LEASE_MS } from './messages.ts';

type CopiedGrant = NonNullable<Copy['grant']>;

const MAX_TREE = 10_000;
const MAX_HOLDERS = 64;
/** Two renewals did not come: whoever says so may have stood still itself. */
const OUTDATED_MS = 2_500;

/** What another keeper of the key needs to go on in our stead. Ages, never times of day. */
export function copyOf(entry: Entry, context: KeeperContext): Copy {
  const nowMs = context.timers.now();
  const { writer } = entry.grants;
  const inline = context.inline.get(entry.key, nowMs) ?? context.index.lastKnown(entry.key);
  const tree = [...entry.tree.seats()].slice(0, MAX_TREE);
  return {
    key: entry.key,
    ...(entry.sizeBytes === undefined ? {} : { sizeBytes: entry.sizeBytes }),
    ...(writer === undefined
      ? {}
      : {
          grant: {
            id: writer.id,
            peerId: writer.peerId,
            incarnation: writer.incarnation,
            source: writer.source,
            ageMs: nowMs - writer.renewedAtMs,
            prefix: writer.prefix,
            phase: writer.phase,
            ...(writer.rate === undefined ? {} : { rate: writer.rate }),
          },
        }),
    holders: context.index.holders(entry.key).slice(0, MAX_HOLDERS),
    tree: tree.map(({ peerId, parent }) => ({ peerId, parent: parent?.peerId ?? null })),
    failures: entry.failures
      .current(nowMs)
      .flatMap(({ source, code, message, upstreamStatus, untilMs, standsForAll }) =>
        standsForAll
          ? [
              {
                source,
                code,
                message,
                leftMs: untilMs - nowMs,
                ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
              },
            ]
          : [],
      ),
    ...(inline === undefined || inline.bytes.length > INLINE_BYTES
      ? {}
      : { inline: { bytes: Buffer.from(inline.bytes).toString('base64'), ageMs: inline.ageMs } }),
  };
}

/**
 * Takes over what another keeper of the key says. What is known here at first hand stays: a running grant, seats
 * that have parents, failures.
 * @param replace the sender is its keeper now: its grant and tree are the right ones.
 */
export function adopt(entry: Entry, context: KeeperContext, copy: Copy, replace: boolean): void {
  const nowMs = context.timers.now();
  entry.sizeBytes ??= copy.sizeBytes;
  if (!entry.isTag) for (const holder of copy.holders) context.index.addByHearsay(entry.key, holder);
  for (const { source, leftMs, ...failed } of copy.failures) entry.failures.adopt(source, failed, leftMs, nowMs);
  if (replace && entry.isTag && copy.failures.some(({ code }) => code === 'NOT_FOUND')) {
    context.inline.delete(entry.key);
    context.index.forget(entry.key);
  }
  if (copy.inline !== undefined) {
    const bytes = Buffer.from(copy.inline.bytes, 'base64');
    const { ageMs } = copy.inline;
    const isNews = !entry.isTag || context.index.setLastKnown(entry.key, { bytes, ageMs });
    if (isNews) context.inline.set(entry.key, bytes, ageMs, nowMs);
  }
  const known = entry.grants.writer;
  const replaces = replace && !isOutdated(copy, known, nowMs);
  if (replaces && known !== undefined && known.id !== copy.grant?.id) entry.end(known, true, { byCopy: true });
  // A copy of a keeper that had let go of it by mistake, and has heard of it again since.
  if (replaces && entry.grants.writer === undefined && copy.grant !== undefined && copy.grant.ageMs <= OUTDATED_MS) {
    entry.grants.takeBack(copy.grant.id);
  }
  if (entry.grants.writer === undefined) adoptGrant(entry, context, copy, nowMs);
  if (copy.grant !== undefined) hearOf(entry, copy.grant, nowMs);
  if (!entry.isTag) adoptTree(entry, context, copy, replaces);
}

/** A keeper that stood still tells of a grant that had passed on here meanwhile, before it has heard of that. */
function isOutdated({ grant }: Copy, known: Grant | undefined, nowMs: number): boolean {
  if (grant === undefined || known === undefined || known.id === grant.id) return false;
  return grant.ageMs > OUTDATED_MS && nowMs - known.renewedAtMs < grant.ageMs;
}

/**
 * Of what was passed on while this agent stood still, others know better: what has run out here, or was renewed there later
 * under another grant.
 * @param suspendedUntilMs the clock stood still as well until then: what was renewed here before is older than it looks.
 */
export function endOutdated(
  entry: Entry,
  context: KeeperContext,
  copies: readonly Copy[],
  suspendedUntilMs = Number.NEGATIVE_INFINITY,
): void {
  const nowMs = context.timers.now();
  entry.expire(nowMs);
  const { writer, rival } = entry.grants;
  if (writer === undefined) return;
  const isNewer = ({ grant }: Copy) => {
    if (grant === undefined || grant.id === writer.id || grant.id === rival?.id) return false;
    // A stranger may be new; but it ends nobody.
    if (!mayAdopt(entry, context, grant) || context.roster.get(grant.peerId) === undefined) return false;
    if (writer.renewedAtMs < suspendedUntilMs && grant.ageMs <= OUTDATED_MS) return true;
    return nowMs - grant.ageMs > writer.renewedAtMs;
  };
  if (!copies.some(isNewer)) return;
  for (const grant of [rival, writer]) {
    if (grant === undefined) continue;
    entry.end(grant, false);
    context.revoked(entry, grant);
  }
}

function mayAdopt(entry: Entry, { roster }: KeeperContext, grant: CopiedGrant): boolean {
  const hasRestarted = grant.incarnation < (roster.get(grant.peerId)?.incarnation ?? 0);
  return grant.ageMs <= LEASE_MS && !entry.grants.hasEnded(grant.id) && !hasRestarted;
}

function adoptGrant(entry: Entry, context: KeeperContext, { grant }: Copy, nowMs: number): void {
  if (grant === undefined || !mayAdopt(entry, context, grant)) return;
  const { id, peerId, incarnation, source, prefix, rate, phase = 'opening' } = grant;
  // Another keeper gave it: how long ago it was renewed is known, and no renewal of it is on its way by our silence.
  const given = newGrant(id, { peerId, incarnation, source, prefix }, nowMs - grant.ageMs);
  entry.grants.add({ ...given, isRenewed: true, rate, phase });
}

/** Another keeper knows of a later renewal than this one. */
function hearOf({ grants: { writer } }: Entry, { id, ageMs, prefix, rate, phase }: CopiedGrant, nowMs: number): void {
  if (writer === undefined || writer.id !== id || nowMs - ageMs <= writer.renewedAtMs) return;
  writer.renewedAtMs = nowMs - ageMs;
  if (prefix > writer.prefix) writer.progressAtMs = writer.renewedAtMs;
  writer.prefix = Math.max(writer.prefix, prefix);
  writer.rate = rate ?? writer.rate;
  writer.phase = phase ?? writer.phase;
}

function adoptTree(entry: Entry, { roster, index, timers }: KeeperContext, copy: Copy, replace: boolean): void {
  const { tree } = entry;
  if (replace) for (const { peerId } of [...tree.seats()]) tree.remove(peerId);
  const holders = new Set(index.holders(entry.key));
  const placed = new Set([...tree.seats()].filter((seat) => seat.parent !== undefined || seat.root !== undefined));
  for (const { peerId } of copy.tree) {
    const member = roster.get(peerId);
    if (member === undefined || !roster.isLive(peerId)) continue;
    const seat = tree.seat(peerId, member.incarnation, member.zone);
    seat.heardAtMs = timers.now();
    if (seat.root === undefined && holders.has(peerId)) tree.makeRoot(seat, 'holder');
  }
  const writer = entry.grants.writer;
  if (writer !== undefined) {
    const seat = tree.seat(writer.peerId, writer.incarnation, roster.get(writer.peerId)?.zone ?? '');
    seat.heardAtMs = timers.now();
    tree.makeRoot(seat, 'writer');
  }
  for (const { peerId, parent } of copy.tree) {
    const seat = tree.get(peerId);
    const above = parent === null ? undefined : tree.get(parent);
    // A tree from the wire may have cycles; `move` makes none.
    if (seat === undefined || above === undefined || seat.root !== undefined || placed.has(seat)) continue;
    tree.move(seat, above);
  }
}
