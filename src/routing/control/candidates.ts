import type { PeerId } from '../member.ts';

/** Both lists are cut there: more members than any cluster has. */
const MAX_CANDIDATES = 20_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
/** While nobody at all is connected. */
const LONGEST_ALONE_MS = 5_000;

/** Somebody who might be dialled. */
export interface Candidate {
  /** Multiaddresses; of a member each ends in its peer id. */
  readonly addresses: readonly string[];
  /** Of a member; of a seed, once a dial has shown it. */
  peerId: PeerId | undefined;
  failures: number;
  /** Not before. */
  nextAtMs: number;
}

/** Whom this agent could connect to: addresses that discovery found, and the roster's members. */
export class Candidates {
  readonly #random: () => number;
  #seeds: ReadonlyMap<string, Candidate> = new Map();
  #members: ReadonlyMap<PeerId, Candidate> = new Map();

  constructor({ random }: { readonly random: () => number }) {
    this.#random = random;
  }

  /** Replaces the seeds; those that stay keep what is known of them. @param addresses multiaddresses. */
  setSeeds(addresses: Iterable<string>): void {
    const before = this.#seeds;
    const after = new Map<string, Candidate>();
    for (const address of addresses) {
      if (after.size === MAX_CANDIDATES) break;
      after.set(address, before.get(address) ?? fresh([address], undefined));
    }
    this.#seeds = after;
  }

  /** Who answered at a seed's address when it was last dialled. */
  ownerOf(address: string): PeerId | undefined {
    return this.#seeds.get(address)?.peerId;
  }

  setMembers(members: Iterable<{ readonly peerId: PeerId; readonly p2pAddresses: readonly string[] }>): void {
    const before = this.#members;
    const after = new Map<PeerId, Candidate>();
    for (const { peerId, p2pAddresses } of members) {
      if (after.size === MAX_CANDIDATES) break;
      if (p2pAddresses.length === 0) continue;
      const addresses = p2pAddresses.map((address) => `${address}/p2p/${peerId}`);
      const known = before.get(peerId);
      const same = known?.addresses.join() === addresses.join();
      after.set(peerId, known !== undefined && same ? known : fresh(addresses, peerId));
    }
    this.#members = after;
  }

  /** One that may be dialled now, any of them with the same chance. */
  pick(now: number, isTaken: (candidate: Candidate) => boolean): Candidate | undefined {
    // One of several, without a list of thousands: the n-th takes the place of the chosen one with chance 1 ÷ n.
    let chosen: Candidate | undefined;
    let count = 0;
    const consider = (candidate: Candidate) => {
      if (candidate.nextAtMs > now || isTaken(candidate)) return;
      count += 1;
      if (this.#random() * count < 1) chosen = candidate;
    };
    for (const candidate of this.#members.values()) consider(candidate);
    for (const candidate of this.#seeds.values()) {
      if (candidate.peerId === undefined || !this.#members.has(candidate.peerId)) consider(candidate);
    }
    return chosen;
  }

  /** Waits twice as long after each failure, with jitter, and for ever. */
  failed(candidate: Candidate, now: number, isAlone: boolean): void {
    const longest = isAlone ? LONGEST_ALONE_MS : LONGEST_WAIT_MS;
    this.rest(candidate, now, Math.min(longest, FIRST_WAIT_MS * 2 ** Math.min(candidate.failures, 10)));
    candidate.failures += 1;
  }

  /** For a half to one and a half of that. */
  rest(candidate: Candidate, now: number, ms: number): void {
    candidate.nextAtMs = now + ms * (0.5 + this.#random());
  }

  /** A member, and the seeds that turned out to be it, are left alone for a while. */
  restPeer(peerId: PeerId, now: number, ms: number): void {
    for (const candidate of this.#of(peerId)) this.rest(candidate, now, ms);
  }

  /** Nobody is connected any more: nobody is waited for longer than that state allows. */
  hurry(now: number): void {
    for (const candidate of [...this.#members.values(), ...this.#seeds.values()]) {
      candidate.nextAtMs = Math.min(candidate.nextAtMs, now + LONGEST_ALONE_MS * this.#random());
    }
  }

  *#of(peerId: PeerId): Generator<Candidate> {
    const member = this.#members.get(peerId);
    if (member !== undefined) yield member;
    for (const seed of this.#seeds.values()) if (seed.peerId === peerId) yield seed;
  }
}

function fresh(addresses: readonly string[], peerId: PeerId | undefined): Candidate {
  return { addresses, peerId, failures: 0, nextAtMs: 0 };
}
