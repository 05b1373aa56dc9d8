import type { PeerId } from '../../routing/member.ts';
import { LEASE_MS, type Report } from './messages.ts';

/** Ids of grants that ended; a late renewal of one is answered `lost`. Oldest forgotten first. */
const MAX_ENDED = 32;

/** The right to fetch one key from upstream, as its keeper sees it. Times by the keeper's monotonic clock. */
export interface Grant {
  readonly id: string;
  readonly peerId: PeerId;
  readonly incarnation: number;
  readonly source: string;
  readonly grantedAtMs: number;
  renewedAtMs: number;
  /** It was given here, and its holder has not renewed it yet: false. */
  isRenewed: boolean;
  /** It was given because its holder had more than the writer. */
  readonly isAhead: boolean;
  /** When the prefix, or the phase, last moved. */
  progressAtMs: number;
  phase: 'opening' | 'writing' | 'verifying';
  prefix: number;
  /** Bytes a second, as last reported: from the registry, and to all children. */
  rate: number | undefined;
  output: number | undefined;
  /** Bytes a second: the most that it ever sent, of all keys together, as it says. */
  uplink: number | undefined;
  /** Somebody was below it when it last renewed: what it sends from then on says something. */
  wasRead: boolean;
  /**
   * The renewals in a row, up to the last one, by which it sent far less than it got while somebody was below it, and what
   * it got in them.
   */
  slow: { readonly renewals: number; readonly bytes: number };
}

interface Ended {
  readonly grant: Grant;
  /** Its holder knows (it ended it itself, was told, or is dead): it writes no more. */
  settled: boolean;
  /** Its keeper's copies named it no more; nobody else said anything. */
  readonly byCopy: boolean;
}

/**
 * The grants of one key. At most two nodes write at any time: the writer, and either a rival or one that lost the
 * right and may not know it yet ("unsettled"; for no longer than its lease).
 *
 * ```
 *            issue                       no progress, or one that is ahead: issue beside it
 *   nobody ─────────▶ writer ───────────────────────────────────────▶ writer + rival
 *     ▲  ▲              │ │                                              │ first of both to progress
 *     │  │ lease over,  │ │ revoke: broken, silent, slow                 ▼
 *     │  │ held, failed,│ ▼                                           writer, the other one revoked (but a rival that is
 *     │  │              │                                             ahead of the writer stays while it is)
 *     │  └─── left ─────┘ unsettled ── told `lost`, found dead, lease over ──▶ settled
 *     └──────────────────── (a new one may be issued beside ONE unsettled) ◀──┘
 *   a renewal of an unknown grant (its keeper died, or a partition healed): adopted; where there is a writer, the
 *   longer prefix stays, the other one is answered `lost`.
 * ```
 */
export class Grants {
  #writer: Grant | undefined;
  #rival: Grant | undefined;
  readonly #ended = new Map<string, Ended>();

  get writer(): Grant | undefined {
    return this.#writer;
  }

  get rival(): Grant | undefined {
    return this.#rival;
  }

  /** Of this node, in this life of it. */
  of(peerId: PeerId, incarnation: number): Grant | undefined {
    return [this.#writer, this.#rival].find((grant) => grant?.peerId === peerId && grant.incarnation === incarnation);
  }

  /** In whatever life of it. */
  isHeldBy(peerId: PeerId): boolean {
    return this.#writer?.peerId === peerId || this.#rival?.peerId === peerId;
  }

  /** Would one more grant make at most two that write? */
  mayIssue(nowMs: number): boolean {
    const running = (this.#writer === undefined ? 0 : 1) + (this.#rival === undefined ? 0 : 1);
    return running + this.#unsettled(nowMs) < 2;
  }

  /** Would there be at most two if the writer were revoked, and its right passed on at once? */
  mayPassOn(nowMs: number): boolean {
    return this.#rival !== undefined || this.#unsettled(nowMs) === 0;
  }

  /** The writer, or where there is one already, its rival. */
  add(grant: Grant): void {
    if (this.#writer === undefined) this.#writer = grant;
    else this.#rival = grant;
  }

  /** It is not to write any more; a rival becomes the writer. @param settled its holder knows, or is dead. */
  end(grant: Grant, settled: boolean, { byCopy = false } = {}): void {
    if (this.#rival === grant) this.#rival = undefined;
    if (this.#writer === grant) {
      this.#writer = this.#rival;
      this.#rival = undefined;
    }
    this.#ended.set(grant.id, { grant, settled, byCopy });
    for (const id of this.#ended.keys()) {
      if (this.#ended.size <= MAX_ENDED) break;
      this.#ended.delete(id);
    }
  }

  /** @returns false where there was nothing to settle. */
  settle(id: string): boolean {
    const ended = this.#ended.get(id);
    if (ended === undefined || ended.settled) return false;
    ended.settled = true;
    return true;
  }

  /** Its keeper says that it runs all the same. Who has let it go itself has not got it. */
  takeBack(id: string): void {
    if (this.#ended.get(id)?.byCopy === true) this.#ended.delete(id);
  }

  hasEnded(id: string): boolean {
    return this.#ended.has(id);
  }

  /** Everything that the node had in an earlier life: that process is gone. @returns whether anything ended. */
  voidBefore(peerId: PeerId, incarnation: number): boolean {
    let any = false;
    for (const grant of [this.#writer, this.#rival]) {
      if (grant?.peerId !== peerId || grant.incarnation >= incarnation) continue;
      this.end(grant, true);
      any = true;
    }
    for (const { grant } of this.#ended.values()) {
      if (grant.peerId === peerId && grant.incarnation < incarnation) any = this.settle(grant.id) || any;
    }
    return any;
  }

  /** Ends those whose lease is over. @returns them */
  expire(nowMs: number): Grant[] {
    const over = [this.#writer, this.#rival].filter((grant) => grant !== undefined && !isFresh(grant, nowMs));
    // Not settled by this, but over: it no longer counts, and its renewal may still be adopted.
    for (const grant of over) {
      if (grant === undefined) continue;
      this.end(grant, false);
      this.#ended.delete(grant.id);
    }
    return over.filter((grant) => grant !== undefined);
  }

  /**
   * A writer's renewal.
   * @param from.isRead somebody is below it now.
   * @returns `lost` for who is not to write; the grant that was ended by it, if one was; and whether somebody is known
   *   by it to write no more.
   */
  renew(
    report: Report,
    from: { readonly peerId: PeerId; readonly isRead: boolean; readonly nowMs: number },
  ): { readonly answer: 'ok' | 'lost'; readonly ended: Grant | undefined; readonly settled: boolean } {
    const { peerId, nowMs } = from;
    const id = report.grant ?? '';
    if (this.#ended.has(id)) {
      return { answer: 'lost', ended: undefined, settled: this.settle(id) };
    }
    const known = this.of(peerId, report.incarnation);
    if (known !== undefined) {
      const progressed = note(known, report, from);
      const other = known === this.#writer ? this.#rival : this.#writer;
      const waitsForOther = other?.isAhead === true && other === this.#rival && known.prefix < other.prefix;
      // The first bytes win.
      if (!progressed || other === undefined || waitsForOther) {
        return { answer: 'ok', ended: undefined, settled: false };
      }
      this.end(other, false);
      return { answer: 'ok', ended: other, settled: false };
    }
    const prefix = report.prefix ?? 0;
    const stranger = newGrant(id, { peerId, incarnation: report.incarnation, source: report.source, prefix }, nowMs);
    note(stranger, report, from);
    if (this.#writer === undefined) {
      this.#writer = stranger;
      return { answer: 'ok', ended: undefined, settled: false };
    }
    // Of two the shorter. But one that has got nothing yet may never get anything: it had more than the writer, and its keeper
    // changed.
    const opens = report.phase === 'opening';
    const isShorter =
      prefix <= this.#writer.prefix && !(this.#writer.phase === 'opening' && report.phase === 'writing');
    if (this.#rival !== undefined || isShorter || opens) {
      this.end(stranger, true);
      return { answer: 'lost', ended: undefined, settled: false };
    }
    const shorter = this.#writer;
    this.#writer = stranger;
    this.end(shorter, false);
    return { answer: 'ok', ended: shorter, settled: false };
  }

  get nothing(): boolean {
    return this.#writer === undefined && this.#rival === undefined;
  }

  #unsettled(nowMs: number): number {
    let count = 0;
    for (const { grant, settled } of this.#ended.values()) if (!settled && isFresh(grant, nowMs)) count += 1;
    return count;
  }

  /** Does an ended one still count? Then its entry is to be kept. */
  hasUnsettled(nowMs: number): boolean {
    return this.#unsettled(nowMs) > 0;
  }
}

/**
 * Below this share of what it gets a writer sends too little. Not more than this: where sixteen agents share two cores
 * each sends less than 0.7 for seconds, and upstream would be asked again for nothing.
 */
const SLOW_SHARE = 0.3;
const AGAIN_SECONDS = 0.5;
const NOT_SLOW = { renewals: 0, bytes: 0 };

export function newGrant(
  id: string,
  to: { readonly peerId: PeerId; readonly incarnation: number; readonly source: string; readonly prefix: number },
  nowMs: number,
): Grant {
  return {
    id,
    ...to,
    grantedAtMs: nowMs,
    renewedAtMs: nowMs,
    isRenewed: false,
    isAhead: false,
    progressAtMs: nowMs,
    phase: 'opening',
    rate: undefined,
    output: undefined,
    uplink: undefined,
    wasRead: false,
    slow: NOT_SLOW,
  };
}

/** A writer that renewed so lately is alive, whatever a child says that heard nothing from it. */
const SILENT_MS = 2_500;
/**
 * The first renewal is sent after a second, to the nearest keeper, and where that is silent, and the next one is, it comes
 * to who granted another two or three later: as on the side of a partition that has one keeper alone.
 */
const FIRST_SILENT_MS = 4_500;

/** Two of its renewals did not come; or the first. */
export function isSilent(grant: Grant, nowMs: number): boolean {
  return nowMs - grant.renewedAtMs > (grant.isRenewed ? SILENT_MS : FIRST_SILENT_MS);
}

function isFresh(grant: Grant, nowMs: number): boolean {
  return nowMs - grant.renewedAtMs <= LEASE_MS;
}

/** @returns whether it has got on. */
function note(grant: Grant, report: Report, { isRead, nowMs }: { isRead: boolean; nowMs: number }): boolean {
  const phase = report.phase ?? grant.phase;
  const prefix = report.prefix ?? grant.prefix;
  const seconds = (nowMs - grant.renewedAtMs) / 1000;
  const progressed = prefix > grant.prefix || (phase !== grant.phase && phase !== 'opening');
  if (progressed) grant.progressAtMs = nowMs;
  grant.renewedAtMs = nowMs;
  grant.isRenewed = true;
  grant.phase = phase;
  grant.prefix = prefix;
  grant.rate = report.rate ?? grant.rate;
  grant.output = report.output ?? grant.output;
  grant.uplink = report.uplink ?? grant.uplink;
  // One that came twice, by the keeper's silence and a deputy, is one.
  if (report.rate !== undefined && report.output !== undefined && seconds > AGAIN_SECONDS) {
    const { renewals, bytes } = grant.slow;
    grant.slow =
      grant.wasRead && report.output < SLOW_SHARE * report.rate
        ? { renewals: renewals + 1, bytes: bytes + report.rate * seconds }
        : NOT_SLOW;
    grant.wasRead = isRead;
  }
  return progressed;
}
