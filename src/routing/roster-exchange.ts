import { hasCode, NotAsked, WindlassError } from '../errors.ts';
import type { Member, PeerId, SignedMember } from './member.ts';
import { compareVersions, type MemberEntry, type MemberVersion, readMember } from './member-entry.ts';
import type { PeerCalls } from './peer-calls.ts';
import {
  askAnswerSchema,
  compareAnswerSchema,
  type Death,
  MAX_PAGE,
  mendAnswerSchema,
  probeAnswerSchema,
  type Row,
  rosterRequestSchema,
} from './roster-messages.ts';
import type { Finding } from './roster-probes.ts';
import type { RosterTable } from './roster-table.ts';

const PROBE_MS = 1_000;
/** A bound that ends so much late: this process stood still, and the silence may be its own. */
const LATE_MS = 250;
/** A probe of somebody else, there and back. */
const ASK_MS = 1_500;
const COMPARE_MS = 5_000;
const MEND_MS = 10_000;
/** Members that others let this agent probe at the same time. */
const MAX_ASKED = 8;

export interface RosterExchangeOptions {
  readonly table: RosterTable;
  readonly calls: PeerCalls;
  readonly self: () => MemberEntry;
  /** Takes what is genuine and newer; of `origin` itself at first hand. */
  readonly absorb: (entries: readonly SignedMember[], origin: PeerId | undefined) => Promise<void>;
  readonly accuse: (peerId: PeerId, version: MemberVersion, by: PeerId) => void;
  /** It did something itself. */
  readonly heard: (peerId: PeerId) => void;
  /** This agent was reached by one that thinks it dead, as of this entry. */
  readonly calledDead: (version: MemberVersion) => void;
  /** Others have it as live, this agent as dead. */
  readonly look: (peerId: PeerId) => void;
  /** Somebody answered who has other members than this agent. */
  readonly differs: (peerId: PeerId) => void;
  /** Of this agent's end. */
  readonly signal: AbortSignal;
}

/** What one agent has to give to another one, to get from it, and to tell it. */
interface Differences {
  readonly give: SignedMember[];
  readonly want: PeerId[];
  readonly dead: Death[];
  /** Live here, dead there. */
  readonly doubted: { readonly peerId: PeerId; readonly version: MemberVersion }[];
  /** Dead here, live there. */
  readonly missed: PeerId[];
}

/** The calls about who is there, both sides. */
export class RosterExchange {
  readonly #options: RosterExchangeOptions;
  /** Whose entries are being taken. */
  readonly #mending = new Set<PeerId>();
  #asked = 0;

  constructor(options: RosterExchangeOptions) {
    this.#options = options;
  }

  async probe(member: Member, calledDead: MemberVersion | undefined): Promise<Finding> {
    const { table, self, signal } = this.#options;
    const fromMs = performance.now();
    const about = calledDead && { incarnation: calledDead.incarnation, sequence: calledDead.sequence };
    try {
      const body = { type: 'probe', self: self().signed, ...(about && { calledDead: about }) };
      const answer = probeAnswerSchema.parse(await this.#call(member, body, PROBE_MS));
      await this.#greeted(member.peerId, answer);
      if (answer.checksum !== table.checksum()) this.#options.differs(member.peerId);
      return 'alive';
    } catch (error) {
      // At the end of this agent nobody is found dead any more.
      if (signal.aborted) return 'alive';
      if (error instanceof NotAsked) return 'unknown';
      if (hasCode(error, 'PEER_BUSY')) return 'alive';
      if (hasCode(error, 'PEER_GONE', 'PEER_DENIED')) return 'gone';
      // This agent itself may have stood still.
      return performance.now() - fromMs > PROBE_MS + LATE_MS ? 'unknown' : 'silent';
    }
  }

  async ask(witness: Member, target: PeerId): Promise<boolean> {
    try {
      return askAnswerSchema.parse(await this.#call(witness, { type: 'ask', target }, ASK_MS)).alive;
    } catch {
      return false;
    }
  }

  /**
   * Compares and mends; afterwards both have what the other one had.
   * @throws as PeerCalls; PEER_NONSENSE
   */
  async exchange(to: Member | string): Promise<void> {
    const { table, self, absorb, accuse, look } = this.#options;
    const by = typeof to === 'string' ? undefined : to.peerId;
    const answer = parsed(
      compareAnswerSchema.safeParse(
        await this.#call(to, { type: 'compare', self: self().signed, checksum: table.checksum() }, COMPARE_MS),
      ),
    );
    await this.#greeted(by, answer);
    if (answer.rows === undefined) return;
    const { give, want, dead, doubted, missed } = this.#compare(answer.rows);
    for (let at = 0; at < Math.max(give.length, want.length, dead.length); at += MAX_PAGE) {
      const page = <T>(items: readonly T[]) => items.slice(at, at + MAX_PAGE);
      const body = { type: 'mend', give: page(give), want: page(want), dead: page(dead) };
      const { entries } = parsed(mendAnswerSchema.safeParse(await this.#call(to, body, MEND_MS)));
      await absorb(entries, by);
    }
    // Whoever answers at a bare address may give itself out for another: its word kills nobody.
    if (by !== undefined) for (const { peerId, version } of doubted) accuse(peerId, version, by);
    for (const peerId of missed) look(peerId);
  }

  /** @throws as PeerCalls */
  async give(to: Member, entries: readonly SignedMember[]): Promise<void> {
    await this.#call(to, { type: 'mend', give: entries, want: [], dead: [] }, PROBE_MS);
  }

  async handle(from: PeerId, body: unknown): Promise<unknown> {
    const request = parsed(rosterRequestSchema.safeParse(body));
    const { table, absorb, accuse } = this.#options;
    this.#options.heard(from);
    switch (request.type) {
      case 'probe':
        await absorb([request.self], from);
        if (request.calledDead !== undefined) this.#options.calledDead(request.calledDead);
        return this.#greeting();
      case 'ask':
        return { alive: await this.#lookFor(request.target) };
      case 'compare':
        await absorb([request.self], from);
        return { ...this.#greeting(), ...(request.checksum !== table.checksum() && { rows: table.rows() }) };
      case 'mend': {
        if (this.#mending.has(from)) throw new WindlassError('PEER_BUSY', 'your earlier entries are being taken');
        this.#mending.add(from);
        try {
          await absorb(request.give, from);
        } finally {
          this.#mending.delete(from);
        }
        for (const [peerId, incarnation, sequence] of request.dead) accuse(peerId, { incarnation, sequence }, from);
        return { entries: request.want.flatMap((peerId) => table.find(peerId)?.entry.signed ?? []) };
      }
    }
  }

  #call(to: Member | string, body: unknown, timeoutMs: number): Promise<unknown> {
    const { calls, signal } = this.#options;
    return calls.call(to, 'roster', body, { signal, timeoutMs });
  }

  /** @throws PEER_NONSENSE where somebody else answered than was asked */
  async #greeted(peerId: PeerId | undefined, { self }: { readonly self: SignedMember }): Promise<void> {
    const { table, absorb } = this.#options;
    if (peerId !== undefined) {
      if (readMember(self)?.member.peerId !== peerId) {
        throw new WindlassError('PEER_NONSENSE', `${peerId} answers with the entry of another member`);
      }
      table.heard(peerId);
    }
    await absorb([self], peerId);
  }

  #greeting() {
    const { table, self } = this.#options;
    return { self: self().signed, checksum: table.checksum() };
  }

  async #lookFor(target: PeerId): Promise<boolean> {
    const record = this.#options.table.find(target);
    if (record === undefined || record.state === 'left') return false;
    if (this.#asked >= MAX_ASKED) throw new WindlassError('PEER_BUSY', 'asked to look for too many at once');
    this.#asked += 1;
    try {
      return (await this.probe(record.entry.member, undefined)) === 'alive';
    } finally {
      this.#asked -= 1;
    }
  }

  #compare(rows: readonly Row[]): Differences {
    const { table } = this.#options;
    const differences: Differences = { give: [], want: [], dead: [], doubted: [], missed: [] };
    const theirs = new Map(rows.map((row) => [row[0], row]));
    for (const [peerId, incarnation, sequence, state] of table.rows()) {
      const [, theirIncarnation = -1, theirSequence = -1, theirState = 'unknown'] = theirs.get(peerId) ?? [];
      const version = { incarnation, sequence };
      const newer = compareVersions(version, { incarnation: theirIncarnation, sequence: theirSequence });
      const entry = table.find(peerId)?.entry.signed;
      if (newer > 0 && entry !== undefined && (theirState !== 'unknown' || state === 'live')) {
        differences.give.push(entry);
      }
      if (newer >= 0 && state === 'dead' && theirState === 'live') {
        differences.dead.push([peerId, incarnation, sequence]);
        if (newer === 0) differences.missed.push(peerId);
      }
      if (newer === 0 && state === 'live' && theirState === 'dead') differences.doubted.push({ peerId, version });
    }
    for (const [peerId, incarnation, sequence, state] of theirs.values()) {
      const mine = table.find(peerId)?.entry.member;
      const newer = mine === undefined || compareVersions({ incarnation, sequence }, mine) > 0;
      if (newer && (mine !== undefined || state === 'live')) differences.want.push(peerId);
    }
    return differences;
  }
}

function parsed<T>(result: { success: true; data: T } | { success: false; error: Error }): T {
  if (result.success) return result.data;
  throw new WindlassError('PEER_NONSENSE', 'a message about the roster that makes no sense', { cause: result.error });
}
