import type { PeerId } from '../../routing/member.ts';
import type { Entry } from './entry.ts';
import type { KeeperContext } from './keeper-context.ts';
import { RENEW_MS } from './messages.ts';
import { Rates } from './rates.ts';
import type { Asked } from './verdict.ts';

/** So much more than the writer who comes must have. Less is not worth another request. */
const LONGER_BYTES = 8 * 1024 * 1024;

/**
 * Who comes back in the middle of a blob (it restarted) may have far more of it than whoever writes it by now. Then it
 * writes beside that one, and once upstream has given it something, in its stead: upstream gives only what neither has, and
 * the old writer, as all below it, reads what the new one has already. Until then nobody has lost anything (see Grants: a
 * rival that is ahead).
 *
 * ```
 *   writer W  ▓▓░ 10%                            goes on, until R has got something; then reads from R
 *   claimer R ▓▓▓▓▓▓▓▓▓░ 60%, left by an earlier ingest   writes on at 60%
 * ```
 * Only at its first claim: what it reads later on it has from that writer, whose own prefix is known as of its last renewal.
 * What an earlier ingest left is not verified. If it is wrong all of it is: whoever read it drops it, and the next writer
 * begins at 0, as the file is gone.
 * @param there.holders of the whole, which are read from instead.
 */
export function hasFarMore(
  { grants: { writer }, sizeBytes }: Entry,
  { rates, complaints }: KeeperContext,
  { peerId, claim }: Asked,
  there: { readonly holders: readonly PeerId[]; readonly nowMs: number },
): boolean {
  const { holders, nowMs } = there;
  if (claim.resumes !== true || writer === undefined || holders.length > 0) return false;
  if (claim.prefix >= (sizeBytes ?? Number.POSITIVE_INFINITY) || writer.phase === 'verifying') return false;
  // It could not feed the others.
  if (claim.strained === true || complaints.slowUntilMs(peerId) > nowMs || complaints.isDoubted(peerId, nowMs)) {
    return false;
  }
  // One that is opening renews with a rate of 0.
  const rate = Math.max(writer.rate ?? 0, rates.registry(Rates.registryOf(writer.source)) ?? 0);
  // As another keeper knew it a while ago, and not how fast it is: it may be anywhere by now.
  const isOld = nowMs - writer.renewedAtMs > 1.5 * RENEW_MS;
  if (writer.isRenewed && rate === 0 && (isOld || writer.rate === undefined)) return false;
  const reachedBytes = writer.prefix + (rate * (nowMs - writer.renewedAtMs)) / 1000;
  return claim.prefix - reachedBytes >= LONGER_BYTES;
}
