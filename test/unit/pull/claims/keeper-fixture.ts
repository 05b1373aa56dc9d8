import pino from 'pino';
import { Metrics } from '../../../../src/metrics/metrics.ts';
import { Keeper } from '../../../../src/pull/claims/keeper.ts';
import type { Claim, ClaimAnswer, Copy, FailedPeer, Report } from '../../../../src/pull/claims/messages.ts';
import { Rates } from '../../../../src/pull/claims/rates.ts';
import { KeeperIndex } from '../../../../src/routing/keeper-index.ts';
import { type Member, WIRE_VERSION } from '../../../../src/routing/member.ts';
import { nameOf, peerIdOf } from '../../../support/claims-network.ts';
import { EventQueue, ticking } from '../../../support/event-queue.ts';
import { SimRoster } from '../../../support/sim-roster.ts';

export const KEY = `blob:sha256:${'a'.repeat(64)}`;
export const SOURCE = 'docker.io/library/redis';
const MIB = 1024 * 1024;

/** One keeper, with a clock and a roster that the test drives, and its own word for every answer. */
export class KeeperStage {
  readonly queue = new EventQueue();
  readonly metrics = new Metrics();
  readonly rates = new Rates();
  readonly roster: SimRoster;
  readonly index: KeeperIndex;
  readonly keeper: Keeper;
  readonly revoked: string[] = [];
  readonly recalled: string[] = [];
  readonly changed: { key: string; soon: boolean }[] = [];
  copies: readonly Copy[] = [];
  /** By digest: whom gossip named. */
  readonly heard = new Map<string, readonly string[]>();
  /** What a revoked writer answers. */
  knows = true;
  readonly #members = new Map<string, Member>();
  #stoodStillMs = 0;
  #suspendedMs = 0;

  /** @param names `name` or `name@zone`; the first is the keeper itself. */
  constructor(...names: string[]) {
    for (const name of names) this.#add(name, 1);
    const [self] = this.#members.values();
    if (self === undefined) throw new Error('a keeper needs a name');
    this.roster = new SimRoster(self, [...this.#members.values()], { timers: this.queue, onSuspect: () => {} });
    this.index = new KeeperIndex({ isLive: (peerId) => this.roster.isLive(peerId), timers: this.queue });
    this.keeper = new Keeper({
      roster: this.roster,
      index: this.index,
      timers: ticking({
        now: () => this.queue.now() + this.#stoodStillMs,
        wall: () => this.queue.now() + this.#stoodStillMs + this.#suspendedMs,
        after: (ms, call) => this.queue.after(ms, call),
      }),
      rates: this.rates,
      heard: (digest) => this.heard.get(digest) ?? [],
      links: {
        recall: async (key) => {
          this.recalled.push(key);
          return this.copies;
        },
        changed: ({ key }, soon) => this.changed.push({ key, soon }),
        revoke: async (peerId) => {
          this.revoked.push(nameOf(peerId));
          return this.knows;
        },
      },
      logger: pino({ level: 'silent' }),
      metrics: this.metrics,
    });
  }

  #add(name: string, incarnation: number): void {
    const [nodeName = name, zone = ''] = name.split('@');
    this.#members.set(nodeName, {
      peerId: peerIdOf(nodeName),
      incarnation,
      sequence: 1,
      nodeName,
      zone,
      dataAddress: `${nodeName}:5051`,
      p2pAddresses: [],
      wireVersion: WIRE_VERSION,
      leaving: false,
    });
  }

  async pass(ms: number): Promise<void> {
    await this.queue.run(this.queue.now() + ms);
  }

  /** As a stopped process does: the clock has gone on, and nothing that was due came. */
  standsStill(ms: number): void {
    this.#stoodStillMs += ms;
  }

  /** As a suspended machine: but for the wall's clock nothing has gone on. */
  suspended(ms: number): void {
    this.#suspendedMs += ms;
  }

  dies(name: string): void {
    this.#members.delete(name);
    this.roster.set([...this.#members.values()]);
  }

  /** In order: it told so, and goes on with what it has begun. */
  leaves(name: string): void {
    this.#members.delete(name);
    this.roster.set([...this.#members.values()], true);
  }

  joins(name: string): void {
    this.#add(name, 1);
    this.roster.set([...this.#members.values()]);
  }

  restarts(name: string): void {
    const before = this.#members.get(name);
    this.#add(`${name}@${before?.zone ?? ''}`, (before?.incarnation ?? 0) + 1);
    this.roster.set([...this.#members.values()]);
  }

  claim(
    name: string,
    changes: Partial<Claim> & { readonly failing?: Record<string, FailedPeer['why']> } = {},
    signal = new AbortController().signal,
  ) {
    const { failing = {}, ...claim } = changes;
    const member = this.#members.get(name);
    const whole: Claim = {
      type: 'claim',
      key: KEY,
      incarnation: member?.incarnation ?? 1,
      source: SOURCE,
      sizeBytes: 100 * MIB,
      prefix: 0,
      failed: Object.entries(failing).map(([other, why]) => ({ peerId: peerIdOf(other), why })),
      inline: false,
      waitMs: 0,
      zone: member?.zone ?? '',
      ...claim,
    };
    return this.keeper.claim(peerIdOf(name), whole, signal);
  }

  /** The answer in a word: `write`, `read a`, `read a instead of b`, `bytes`, `failed NOT_FOUND`, `wait`. */
  async asks(name: string, changes: Parameters<KeeperStage['claim']>[1] = {}): Promise<string> {
    return inWords(await this.claim(name, changes));
  }

  report(name: string, state: Report['state'], changes: Partial<Report> = {}): string {
    const key = changes.key ?? KEY;
    const peerId = peerIdOf(name);
    const entry = this.keeper.peek(key);
    const own = [entry?.grants.writer, entry?.grants.rival].find((grant) => grant?.peerId === peerId);
    const grant = changes.grant ?? own?.id;
    const whole: Report = {
      key,
      incarnation: this.#members.get(name)?.incarnation ?? 1,
      source: SOURCE,
      state,
      ...(grant === undefined ? {} : { grant }),
      ...changes,
    };
    return this.keeper.report(peerId, [whole])[0] ?? 'nothing';
  }

  /** Renewed each second, for so long. */
  async renews(name: string, ms: number, changes: Partial<Report> = {}): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      await this.pass(1_000);
      this.report(name, 'writing', changes);
    }
  }

  grantOf(name: string): string {
    const entry = this.keeper.peek(KEY);
    const grants = [entry?.grants.writer, entry?.grants.rival];
    return grants.find((grant) => grant?.peerId === peerIdOf(name))?.id ?? '';
  }

  /** `child<parent` of all that read, in order. */
  tree(key = KEY): string {
    const seats = [...(this.keeper.peek(key)?.tree.seats() ?? [])];
    return seats
      .map((seat) =>
        seat.root !== undefined
          ? `${nameOf(seat.peerId)}!`
          : `${nameOf(seat.peerId)}<${seat.parent === undefined ? '' : nameOf(seat.parent.peerId)}`,
      )
      .sort()
      .join(' ');
  }

  async counted(name: 'takeovers', labels: Record<string, string>): Promise<number> {
    const { values } = await this.metrics[name].get();
    return (
      values.find((value) => Object.entries(labels).every(([k, v]) => value.labels[k as 'reason'] === v))?.value ?? 0
    );
  }
}

export function inWords(answer: ClaimAnswer): string {
  switch (answer.kind) {
    case 'read': {
      const replaces = answer.replaces === undefined ? '' : ` instead of ${nameOf(answer.replaces)}`;
      return `read ${answer.parents.map(({ peerId }) => nameOf(peerId)).join(',')}${replaces}`;
    }
    case 'bytes':
      return `bytes ${Buffer.from(answer.bytes, 'base64').toString()}`;
    case 'failed':
      return `failed ${answer.code}`;
    default:
      return answer.kind;
  }
}
