import type { Logger } from 'pino';
import { WindlassError } from '../../errors.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import type { HolderIndex } from '../../routing/holder-index.ts';
import type { PeerId } from '../../routing/member.ts';
import type { Roster, RosterChange } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import { BoundedMap } from './bounded-map.ts';
import { Complaints } from './complaints.ts';
import { adopt, copyOf } from './copies.ts';
import { Entry } from './entry.ts';
import type { Grant } from './grants.ts';
import { InlineBytes } from './inline-bytes.ts';
import type { KeeperContext, KeeperLinks } from './keeper-context.ts';
import { type Claim, type ClaimAnswer, type Copy, RENEW_MS, type Report } from './messages.ts';
import { Rates } from './rates.ts';
import { Recalls } from './recalls.ts';
import { take } from './report-handling.ts';
import { endHopeless } from './takeover.ts';
import { type Asked, verdict } from './verdict.ts';
import { askAgain, Waiting } from './waiting.ts';

const MAX_ENTRIES = 20_000;

export interface KeeperOptions {
  readonly roster: Roster;
  readonly index: HolderIndex;
  readonly timers: Timers;
  readonly rates: Rates;
  /** Who said lately, to all, that it holds a digest. */
  readonly heard: (digest: string) => readonly PeerId[];
  readonly links: KeeperLinks;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * One agent in its role of keeper, or deputy, of the keys that fall to it: who may write, who reads from whom.
 * Everything is in memory and bounded; what is lost with it comes back by the deputies' copies, by renewals, and by
 * claims that name what failed. The rules of one key are in verdict.ts (claims), grievances.ts (what claims say of
 * others), report-handling.ts; its state in entry.ts: grants.ts, tree.ts, failures.ts.
 *
 * ```
 *   claim ──▶ entry ─┬─ verdict ──▶ answer                 report ──▶ entry ──▶ ok, lost
 *                    └─ nothing yet ──▶ waiting ──┐                     │
 *                         ▲                       │ again, when a grant ended, bytes came, a lease is over,
 *                         └───────────────────────┘ a member left, a lost writer knows it
 * ```
 */
export class Keeper {
  readonly #context: KeeperContext;
  readonly #links: KeeperLinks;
  readonly #waiting: Waiting;
  readonly #recalls: Recalls;
  readonly #entries: BoundedMap<string, Entry>;
  readonly #unsubscribe: () => void;
  #cancelSweep: (() => void) | undefined;
  #granted = 0;
  #stopped = false;

  constructor({ roster, index, timers, rates, heard, links, logger, metrics }: KeeperOptions) {
    this.#links = links;
    this.#waiting = new Waiting(timers);
    this.#entries = new BoundedMap(MAX_ENTRIES);
    this.#context = {
      roster,
      index,
      timers,
      rates,
      heard,
      logger,
      metrics,
      inline: new InlineBytes(),
      complaints: new Complaints(),
      newId: () => {
        this.#granted += 1;
        return `${roster.self.peerId}.${roster.self.incarnation}.${this.#granted}`;
      },
      changed: (entry, soon) => links.changed(entry, soon),
      revoked: (entry, grant) => void this.#revoke(entry, grant),
    };
    this.#recalls = new Recalls(this.#context, links);
    this.#unsubscribe = roster.subscribe((change) => this.#onRoster(change));
  }

  /**
   * @param peerId whose claim it is.
   * @returns within the claim's `waitMs` (2 s at most), at once where there is something to say. Nothing is given to who
   *   has left by the signal.
   * @throws PEER_DENIED where the claim is of an earlier life of the node; the signal's reason never.
   */
  async claim(peerId: PeerId, claim: Claim, signal: AbortSignal): Promise<ClaimAnswer> {
    const { rates, timers, complaints } = this.#context;
    const sinceMs = timers.now();
    this.#refuseOld(peerId, claim.incarnation);
    const entry = this.#entry(claim.key);
    if (entry.renewed(peerId, claim.incarnation)) this.#lookAgain(entry);
    // A claimer knows the size from the manifest that named the blob; a writer, from upstream.
    entry.sizeBytes ??= claim.sizeBytes;
    rates.noteCarries(claim.carries);
    if (claim.strained === true && claim.onBehalfOf === undefined) complaints.noteStrained(peerId, sinceMs);
    rates.noteRegistry(Rates.registryOf(claim.source), claim.registryRate);
    this.#hear(entry, peerId, claim);
    if (this.#recalls.isUnsettled(entry) || this.#recalls.stoodStill(entry)) {
      await this.#recalls.ask(entry);
      // It may have stood still again meanwhile.
      if (this.#recalls.stoodStill(entry)) await this.#recalls.ask(entry);
      // Another keeper may know the life before this one.
      if (entry.renewed(peerId, claim.incarnation)) this.#lookAgain(entry);
    }
    const asked: Asked = { peerId, claim, sinceMs };
    if (this.#stopped) return askAgain();
    if (signal.aborted) return this.#waiting.hold(peerId, claim, sinceMs, signal);
    const { writer } = entry.grants;
    const answer = verdict(entry, this.#context, asked);
    // Who yielded to it reads.
    if (answer?.kind === 'write' && entry.grants.writer !== writer) this.#lookAgain(entry);
    this.#sweepLater();
    return answer ?? this.#waiting.hold(peerId, claim, sinceMs, signal);
  }

  /** @returns in their order; `lost`: another one writes by now. */
  report(peerId: PeerId, reports: readonly Report[]): ('ok' | 'lost')[] {
    return reports.map((report) => {
      const known = this.#context.roster.get(peerId)?.incarnation ?? 0;
      if (report.incarnation < known) return 'lost';
      const entry = this.#entry(report.key);
      if (!this.#recalls.isDoubtful(entry, report)) return this.#take(entry, peerId, report);
      // Its right may have passed on meanwhile: it hears of that by the next one. All of one key in their order.
      void this.#recalls.ask(entry).then(() => {
        if (report.state !== 'writing' || !entry.grants.hasEnded(report.grant ?? '')) this.#take(entry, peerId, report);
      });
      return 'ok';
    });
  }

  #take(entry: Entry, peerId: PeerId, report: Report): 'ok' | 'lost' {
    const voided = entry.renewed(peerId, report.incarnation);
    const { answer, changed } = take(entry, this.#context, peerId, report);
    if (changed || voided) this.#lookAgain(entry);
    this.#sweepLater();
    return answer;
  }

  /** What another keeper of these keys has told. @param isKeeper of the sender and a key: it is the one now. */
  copied(copies: readonly Copy[], isKeeper: (key: string) => boolean): void {
    for (const copy of copies) {
      const entry = this.#entry(copy.key);
      adopt(entry, this.#context, copy, isKeeper(copy.key));
      this.#lookAgain(entry);
    }
    this.#sweepLater();
  }

  /** What is known of a key; null where that is nothing. */
  recall(key: string): Copy | null {
    const entry = this.#entries.get(key);
    const { inline, index, timers } = this.#context;
    const isKnown = entry !== undefined || inline.get(key, timers.now()) !== undefined || index.holders(key).length > 0;
    if (!isKnown && index.lastKnown(key) === undefined) return null;
    return copyOf(entry ?? new Entry(key), this.#context);
  }

  /** Forgets the bytes and the answer that are kept of a key, and where it is held: it was dropped. */
  forget(key: string): void {
    const { inline, index } = this.#context;
    inline.delete(key);
    index.forget(key);
  }

  /** @returns undefined where others are asked first: it will have changed then. */
  copy(entry: Entry): Copy | undefined {
    if (!this.#recalls.stoodStill(entry)) return copyOf(entry, this.#context);
    void this.#recalls.ask(entry);
    return undefined;
  }

  /** Grants that run, for the gauge and the tests. */
  get grants(): readonly { readonly key: string; readonly grant: Grant }[] {
    return [...this.#entries.values()].flatMap(({ key, grants }) =>
      [grants.writer, grants.rival].flatMap((grant) => (grant === undefined ? [] : [{ key, grant }])),
    );
  }

  /** For tests and status: the entry as it is. */
  peek(key: string): Entry | undefined {
    return this.#entries.peek(key);
  }

  get size(): number {
    return this.#entries.size;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelSweep?.();
    this.#recalls.stop();
    this.#unsubscribe();
    this.#waiting.releaseAll();
  }

  #entry(key: string): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = new Entry(key);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #refuseOld(peerId: PeerId, incarnation: number): void {
    const known = this.#context.roster.get(peerId)?.incarnation ?? 0;
    if (incarnation < known) {
      throw new WindlassError('PEER_DENIED', `a claim of incarnation ${incarnation}, it is ${known} by now`);
    }
  }

  /** Complaints count over all keys, once each time that they come. */
  #hear(entry: Entry, peerId: PeerId, claim: Claim): void {
    const { complaints, index, timers } = this.#context;
    for (const { peerId: about, why } of claim.failed) {
      complaints.note(about, why, peerId, timers.now());
      if (why !== 'missing') continue;
      index.remove(entry.key, about);
      const seat = entry.tree.get(about);
      if (seat?.root === 'holder') entry.tree.remove(about);
    }
  }

  async #revoke(entry: Entry, grant: Grant): Promise<void> {
    const knows = await this.#links.revoke(grant.peerId, entry.key, grant.id);
    if (knows && entry.grants.settle(grant.id)) this.#lookAgain(entry);
  }

  #lookAgain(entry: Entry): void {
    if (this.#stopped || !this.#waiting.has(entry.key)) return;
    if (this.#recalls.stoodStill(entry)) {
      void this.#recalls.ask(entry).then(() => this.#lookAgain(entry));
      return;
    }
    for (const waiter of this.#waiting.of(entry.key)) {
      const answer = verdict(entry, this.#context, waiter);
      if (answer !== undefined) waiter.answer(answer);
    }
  }

  #onRoster({ left, joined }: RosterChange): void {
    for (const entry of [...this.#entries.values()]) {
      let changed = false;
      for (const { member, leaving } of left) {
        // Who leaves in order ends what it writes, or says that it does not; else its lease does.
        if (leaving && entry.grants.isHeldBy(member.peerId)) continue;
        changed = entry.gone(member.peerId, member.incarnation) || changed;
      }
      for (const { peerId, incarnation } of joined) changed = entry.renewed(peerId, incarnation) || changed;
      if (changed) this.#lookAgain(entry);
    }
    for (const { peerId } of joined) this.#context.complaints.forgive(peerId);
  }

  /** Each second while there is anything: leases that are over, what is left of keys that nobody wants any more. */
  #sweepLater(): void {
    if (this.#stopped) return;
    this.#cancelSweep ??= this.#context.timers.after(RENEW_MS, () => {
      this.#cancelSweep = undefined;
      const { timers, roster } = this.#context;
      for (const entry of [...this.#entries.values()]) {
        const nowMs = timers.now();
        if (this.#recalls.stoodStill(entry) && (!entry.grants.nothing || this.#waiting.has(entry.key))) {
          if (!this.#recalls.areMany) void this.#recalls.ask(entry).then(() => this.#lookAgain(entry));
          continue;
        }
        endHopeless(entry, this.#context, nowMs);
        entry.sweep(nowMs, (peerId) => roster.isLive(peerId));
        if (this.#waiting.has(entry.key)) this.#lookAgain(entry);
        else entry.expire(nowMs);
        if (!this.#waiting.has(entry.key) && entry.isEmpty(nowMs)) this.#entries.delete(entry.key);
      }
      if (this.#entries.size > 0) this.#sweepLater();
    });
  }
}
