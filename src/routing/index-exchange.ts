import { setImmediate } from 'node:timers/promises';
import { WindlassError } from '../errors.ts';
import { isDigest } from '../oci/digest.ts';
import { fittingTags, type IndexEntries, indexRequestSchema, rangeAnswerSchema } from './index-messages.ts';
import { Kademlia } from './kademlia.ts';
import type { KeeperIndex } from './keeper-index.ts';
import type { Member, PeerId } from './member.ts';
import { packDigests, unpackDigests } from './packed-digests.ts';
import type { PeerCalls } from './peer-calls.ts';
import { KEEPERS, type Roster } from './roster.ts';

const CALL_MS = 5_000;
/** Whoever kept what falls to a newcomer is, but for rare shapes of the key space, among its nearest. */
const NEIGHBOURS = 8;
/** A sender that knows of fewer members than this agent may mean a neighbour; what is not ours ages out. */
const LENIENT = KEEPERS + 2;

export interface IndexExchangeOptions {
  readonly roster: Roster;
  readonly calls: PeerCalls;
  readonly index: KeeperIndex;
}

/** The keepers' side of the index: what it answers, and how it is passed on when keepers come and go. */
export class IndexExchange {
  readonly #options: IndexExchangeOptions;

  constructor(options: IndexExchangeOptions) {
    this.#options = options;
  }

  /** The CallHandler of path `index`. @throws PEER_NONSENSE */
  async handle(from: PeerId, body: unknown): Promise<unknown> {
    const parsed = indexRequestSchema.safeParse(body);
    if (!parsed.success) throw new WindlassError('PEER_NONSENSE', `index: ${parsed.error.message.slice(0, 300)}`);
    const request = parsed.data;
    const { index } = this.#options;
    switch (request.type) {
      case 'announce': {
        const add = await inSlices(keysOf(request.add), (key) => this.#keeps(key, LENIENT));
        if (request.full) index.replace(from, add);
        else for (const key of add) index.add(key, from);
        for (const key of keysOf(request.remove)) index.remove(key, from);
        this.#takeTags(request.tags);
        return { ok: true };
      }
      case 'confirm': {
        const mine = new Set(await inSlices(index.keysOf(from), (key) => this.#keeps(key)));
        const known = index.checksumOf(from, (key) => mine.has(key));
        const unknown = request.tags.filter((key) => index.lacksTag(key));
        const lacked = await inSlices(unknown, (key) => this.#keeps(key));
        return { ok: known.count === request.count && known.text() === request.checksum && lacked.length === 0 };
      }
      case 'range':
        return this.#rangeOf(from);
      case 'handover':
        this.#take(request);
        return { ok: true };
      case 'lookup':
        return { holders: isDigest(request.digest) ? index.holders(`blob:${request.digest}`).slice(0, 64) : [] };
    }
  }

  /** Takes over from its neighbours what falls to this agent. Failures are left to the neighbours that answer. */
  async takeRange(signal: AbortSignal): Promise<void> {
    const { roster, calls } = this.#options;
    const neighbours = roster.keepers(roster.self.peerId, NEIGHBOURS + 1).filter((member) => !this.#isSelf(member));
    await Promise.all(
      neighbours.map(async (neighbour) => {
        try {
          const answer = await calls.call(neighbour, 'index', { type: 'range' }, { signal, timeoutMs: CALL_MS });
          this.#take(rangeAnswerSchema.parse(answer));
        } catch {
          // The others know it too; what nobody tells is announced by its holders when they next compare.
        }
      }),
    );
  }

  /** This agent leaves: whoever is next for a key gets what is known of it. One call a successor. */
  async handOver(signal: AbortSignal): Promise<void> {
    const { roster, calls } = this.#options;
    const byPeer = new Map<PeerId, { readonly member: Member; readonly keys: Set<string> }>();
    // As it was: an agent that has said that it leaves is no keeper any more in its own roster either.
    const self = roster.self.peerId;
    const ring = new Kademlia();
    ring.replace(new Set([self, ...roster.members().map(({ peerId }) => peerId)]));
    const all = this.#options.index.select((key) => ring.closest(key, KEEPERS).includes(self));
    const keys = [
      ...new Set(all.holders.flatMap(({ digests }) => digests.map((digest) => `blob:${digest}`))),
      ...all.tags.map(({ key }) => key),
    ];
    for (const key of keys) {
      const next = ring.closest(key, KEEPERS + 1)[KEEPERS];
      const successor = next === undefined ? undefined : roster.get(next);
      if (successor === undefined) continue;
      const given = byPeer.get(successor.peerId) ?? { member: successor, keys: new Set() };
      given.keys.add(key);
      byPeer.set(successor.peerId, given);
    }
    await Promise.allSettled(
      [...byPeer.values()].map(({ member, keys }) =>
        calls.call(
          member,
          'index',
          { type: 'handover', ...this.#entriesFor((key) => keys.has(key)) },
          { signal, timeoutMs: CALL_MS },
        ),
      ),
    );
  }

  /** Forgets what others keep by now. */
  dropOthers(): void {
    this.#options.index.prune((key) => this.#keeps(key, LENIENT));
  }

  async #rangeOf(peerId: PeerId): Promise<IndexEntries> {
    const { index, roster } = this.#options;
    const isTheirs = (key: string) => roster.keepers(key).some((keeper) => keeper.peerId === peerId);
    const theirs = new Set(await inSlices(index.keys(), isTheirs));
    return this.#entriesFor((key) => theirs.has(key));
  }

  #keeps(key: string, count = KEEPERS): boolean {
    return this.#options.roster.keepers(key, count).some((member) => this.#isSelf(member));
  }

  #isSelf(member: Member): boolean {
    return member.peerId === this.#options.roster.self.peerId;
  }

  #entriesFor(wanted: (key: string) => boolean): IndexEntries {
    const { holders, tags } = this.#options.index.select(wanted);
    return {
      entries: holders.map(({ peerId, digests }) => ({ peerId, digests: packDigests(digests) })),
      tags: fittingTags(tags),
    };
  }

  #take({ entries, tags }: IndexEntries): void {
    for (const { peerId, digests } of entries) {
      if (this.#options.roster.get(peerId) === undefined) continue;
      for (const key of keysOf(digests)) {
        if (this.#keeps(key, LENIENT)) this.#options.index.addByHearsay(key, peerId);
      }
    }
    this.#takeTags(tags);
  }

  #takeTags(tags: IndexEntries['tags']): void {
    for (const { key, bytes, ageMs } of tags) {
      if (!key.startsWith('tag:') || !this.#keeps(key, LENIENT)) continue;
      this.#options.index.setLastKnown(key, { bytes: Buffer.from(bytes, 'base64'), ageMs });
    }
  }
}

/** Who is nearest to 100,000 keys takes seconds; of so few, no other call waits. */
const SLICE = 500;

async function inSlices(keys: readonly string[], wanted: (key: string) => boolean): Promise<string[]> {
  const found: string[] = [];
  for (let at = 0; at < keys.length; at += SLICE) {
    if (at > 0) await setImmediate();
    for (const key of keys.slice(at, at + SLICE)) if (wanted(key)) found.push(key);
  }
  return found;
}

/** @throws PEER_NONSENSE */
function keysOf(packed: { readonly sha256: string; readonly others: string[] }): string[] {
  const digests = unpackDigests(packed);
  if (digests === undefined) throw new WindlassError('PEER_NONSENSE', 'index: not a list of digests');
  return digests.map((digest) => `blob:${digest}`);
}
