import type { Member } from '../../routing/member.ts';
import { KEEPERS, type Roster } from '../../routing/roster.ts';
import type { Keeper } from './keeper.ts';
import type { KeeperCalls } from './keeper-calls.ts';
import { isKeeper } from './keepers-of.ts';
import { FORWARD_MS, RENEW_MS, type Report, reportAnswersSchema } from './messages.ts';

/** What is not urgent and does not fit is forgotten: it is a hint, and the index' own confirmations mend it. */
const MAX_PENDING = 10_000;
/** Of one call. With bytes along, each may have 90 KB. */
const MAX_REPORTS = 1_000;
const MAX_WITH_BYTES = 40;

/** So that a lease outlives its keeper and a deputy in silence. */
const MOST_MS = RENEW_MS;

type Answer = 'ok' | 'lost';

/** Reports on their way to the keepers of their keys; to the deputies where a keeper does not answer. */
export class Outbox {
  readonly #roster: Roster;
  readonly #calls: KeeperCalls;
  readonly #keeper: Keeper;
  readonly #stop = new AbortController();
  #pending: Report[] = [];
  /** Of each key, what was sent and is not answered yet: a claim for it must not overtake it. */
  readonly #sending = new Map<string, Promise<void>>();

  constructor(options: { readonly roster: Roster; readonly calls: KeeperCalls; readonly keeper: Keeper }) {
    this.#roster = options.roster;
    this.#calls = options.calls;
    this.#keeper = options.keeper;
  }

  get isEmpty(): boolean {
    return this.#pending.length === 0;
  }

  /** With the next flush. */
  add(report: Report): void {
    if (this.#pending.length < MAX_PENDING) this.#pending.push(report);
  }

  /** At once. */
  send(report: Report): void {
    const { key } = report;
    const before = this.#sending.get(key);
    if (before === undefined && isKeeper(this.#roster, key, this.#roster.self.peerId)) {
      // A function call: it is done when this returns, so the next claim finds it so.
      void this.deliver([report]);
      return;
    }
    this.#isSaid(
      key,
      Promise.resolve(before).then(() => this.deliver([report])),
    );
  }

  /** Resolves when what was said of the key has arrived; undefined where there is nothing to wait for. */
  said(key: string): Promise<void> | undefined {
    const late = this.#pending.filter((report) => report.key === key);
    if (late.length > 0) {
      this.#pending = this.#pending.filter((report) => report.key !== key);
      for (const report of late) this.send(report);
    }
    return this.#sending.get(key);
  }

  /**
   * Sends all that waits, and these renewals.
   * @param onAnswer called once for each renewal, with what was answered, if anything was.
   */
  async flush(
    renewals: readonly Report[],
    onAnswer?: (grant: string, answer: Answer | undefined) => void,
  ): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await this.deliver([...renewals, ...pending], 0, (reports, call) => {
      for (const { key, state } of reports) if (state !== 'writing') this.#isSaid(key, call);
      void call.then((answers) => {
        for (const report of reports)
          if (isRenewal(report) && report.grant !== undefined) onAnswer?.(report.grant, answers.get(report.grant));
      });
    });
  }

  #isSaid(key: string, delivered: Promise<unknown>): void {
    const before = this.#sending.get(key);
    const said = Promise.all([before, delivered]).then(() => {
      if (this.#sending.get(key) === said) this.#sending.delete(key);
    });
    this.#sending.set(key, said);
  }

  stop(): void {
    this.#stop.abort();
    this.#pending = [];
  }

  /**
   * To the keeper, then the deputies, then (nobody is there) to this agent's own one.
   * @param onSent called with what goes to one agent, and the call that brings it there.
   * @returns the answers by grant, of reports that have one. Never rejects.
   */
  async deliver(
    reports: readonly Report[],
    attempt = 0,
    onSent?: (reports: readonly Report[], call: Promise<Map<string, Answer>>) => void,
  ): Promise<Map<string, Answer>> {
    const answers = new Map<string, Answer>();
    const groups = new Map<string, { readonly to: Member; readonly reports: Report[] }>();
    const here: Report[] = [];
    const beyond = attempt === KEEPERS ? await Promise.all(reports.map(({ key }) => this.#beyond(key))) : undefined;
    for (const [i, report] of reports.entries()) {
      const to = beyond === undefined ? this.#roster.keepers(report.key, KEEPERS)[attempt] : beyond[i];
      if (to === undefined || to.peerId === this.#roster.self.peerId) here.push(report);
      else {
        const group = groups.get(to.peerId) ?? { to, reports: [] };
        groups.set(to.peerId, group);
        group.reports.push(report);
      }
    }
    note(answers, here, this.#keeper.report(this.#roster.self.peerId, here));
    onSent?.(here, Promise.resolve(new Map(answers)));
    await Promise.all(
      [...groups.values()].flatMap(({ to, reports: all }) =>
        this.#batches(to, all).map(async (batch) => {
          const call = this.#call(to, batch, attempt);
          onSent?.(batch, call);
          for (const [grant, answer] of await call) answers.set(grant, answer);
        }),
      ),
    );
    return answers;
  }

  /** Who would be asked for the key where none of its keepers can be reached: a claim is to find the writer there. */
  async #beyond(key: string): Promise<Member | undefined> {
    return this.#calls.nearestBeyond(key, this.#stop.signal).catch(() => undefined);
  }

  async #call(to: Member, reports: readonly Report[], attempt: number): Promise<Map<string, Answer>> {
    if (this.#stop.signal.aborted) return new Map();
    if (this.#calls.isLeftOut(to.peerId)) return this.deliver(reports, attempt + 1);
    // Who was silent a moment ago may hold up each renewal until it is known to be dead: whoever answers first. But what
    // ends something is to come once: the second time might be after the next claim of that key, and end its grant.
    const twice = this.#calls.wasSilent(to.peerId) && reports.every(isRenewal);
    const around = twice ? this.deliver(reports, attempt + 1) : undefined;
    const direct = this.#tell(to, reports, attempt);
    const answers = await (around === undefined ? direct : Promise.race([direct, around]));
    // The keeper of now may be another one already; who was asked in vain is asked once more at worst.
    return answers ?? around ?? this.deliver(reports, attempt + 1);
  }

  /** What goes in one call; renewals apart where it may be slow. */
  #batches(to: Member, reports: readonly Report[]): Report[][] {
    if (!this.#calls.wasSilent(to.peerId)) return batches(reports);
    const others = reports.filter((report) => !isRenewal(report));
    return [...batches(reports.filter(isRenewal)), ...batches(others)];
  }

  /** @returns undefined where it does not answer. */
  async #tell(to: Member, reports: readonly Report[], attempt: number): Promise<Map<string, Answer> | undefined> {
    try {
      const body = { type: 'reports' as const, reports: [...reports] };
      const options = { signal: this.#stop.signal, mostMs: attempt === 0 ? MOST_MS : MOST_MS + FORWARD_MS };
      const { answers } = await this.#calls.ask(to, body, reportAnswersSchema, options);
      return note(new Map(), reports, answers);
    } catch {
      return undefined;
    }
  }
}

function isRenewal({ state }: Report): boolean {
  return state === 'writing';
}

function note(to: Map<string, Answer>, reports: readonly Report[], answers: readonly Answer[]): Map<string, Answer> {
  for (const [i, report] of reports.entries()) {
    const answer = answers[i];
    if (report.grant !== undefined && answer !== undefined) to.set(report.grant, answer);
  }
  return to;
}

function batches(reports: readonly Report[]): Report[][] {
  const size = reports.some(({ bytes }) => bytes !== undefined) ? MAX_WITH_BYTES : MAX_REPORTS;
  const all: Report[][] = [];
  for (let i = 0; i < reports.length; i += size) all.push(reports.slice(i, i + size));
  return all;
}
