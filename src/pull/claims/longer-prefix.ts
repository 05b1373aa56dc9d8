import type { PeerId } from '../../routing/member.ts';
import type { Entry } from './entry.ts';
import type { Grant } from './grants.ts';
import type { KeeperContext } from './keeper-context.ts';
import { Rates } from './rates.ts';
import type { Asked } from './verdict.ts';

/**
 * So much more than the writer who comes must have. What a change of writers costs is one more request, and what was on
 * its way to the old one: some 0.5 MB.
 */
const LONGER_BYTES = 8 * 1024 * 1024;

/**
 * Who restarted in the middle of a blob may have far more of it than whoever writes it by now. Then the right passes to it:
 * upstream gives only what neither has, and the old writer, as all below it, reads what the new one has already.
 *
 * ```
 *   writer W  ▓▓░ 10%  ──▶  lost, reads from R on at 10%
 *   claimer R ▓▓▓▓▓▓▓▓▓░ 60%, of an earlier run  ──▶  writes on at 60%
 * ```
 * Only at its first claim: what it reads later on it has from that writer, whose own prefix is known as of its last renewal.
 * What an earlier run left is not verified. If it is wrong all of it is: whoever read it drops it, and the next writer
 * begins at 0, as the file is gone.
 * @param holders of the whole, which are read from instead.
 * @returns the grant that is to end
 */
export function whoseRightItTakes(
  { grants, sizeBytes }: Entry,
  { rates, complaints }: KeeperContext,
  { peerId, claim }: Asked,
  { holders, nowMs }: { readonly holders: readonly PeerId[]; readonly nowMs: number },
): Grant | undefined {
  const { writer, rival } = grants;
  if (claim.resumes !== true || writer === undefined || rival !== undefined) return undefined;
  if (holders.length > 0 || claim.prefix >= (sizeBytes ?? claim.prefix) || writer.phase === 'verifying')
    return undefined;
  // It could not feed the others.
  if (claim.strained === true || complaints.slowUntilMs(peerId) > nowMs || complaints.isDoubted(peerId, nowMs))
    return undefined;
  const rate = writer.rate ?? rates.registry(Rates.registryOf(writer.source));
  // Another keeper named it, and not how fast it is: it may be anywhere by now.
  if (writer.isRenewed && rate === undefined) return undefined;
  const reachedBytes = writer.prefix + ((rate ?? 0) * (nowMs - writer.renewedAtMs)) / 1000;
  return claim.prefix - reachedBytes >= LONGER_BYTES && grants.mayPassOn(nowMs) ? writer : undefined;
}
