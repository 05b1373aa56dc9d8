// Not the global one: that has no event loop under a test's clock.
import { performance as hooks } from 'node:perf_hooks';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { Blobs } from './blobs.ts';
import { ChildStream } from './child-stream.ts';
import type { PeerOffer, PeerOffers } from './peer-streams.ts';
import { PIECE_BYTES } from './piece.ts';
import { SharedPieces } from './shared-pieces.ts';
import type { Swarm } from './swarm.ts';
import type { Flow } from './uplink-strain.ts';

/** How often it is looked whether the uplink carries what comes in. */
const LOOK_MS = 250;
/** Whose seat is another's may yet be on its way here. */
const MOVED_MS = 2_000;
/** Those that found no better parent are told again. */
const TELL_MS = 2_000;

/** Blobs, held or on their way in, for other agents: each at its own pace, from the file. */
export class Offers implements PeerOffers {
  readonly #blobs: Pick<Blobs, 'openForPeer'>;
  readonly #swarm: Swarm;
  /** Those that are being sent: as many as there are uploads. */
  readonly #pieces = new SharedPieces();
  readonly #children = new Map<Digest, Set<ChildStream>>();
  /** `<digest> <peer>` of those that lost a seat here which they had not taken yet, when. */
  readonly #movedAtMs = new LRUCache<string, number>({ max: 1_000 });
  #sentBytes = 0;
  #looking: NodeJS.Timeout | undefined;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor({ blobs, swarm }: { readonly blobs: Pick<Blobs, 'openForPeer'>; readonly swarm: Swarm }) {
    this.#blobs = blobs;
    this.#swarm = swarm;
  }

  /** @throws PEER_BUSY where it is here, but the bytes asked for cannot be given, or not vouched for. */
  async offer(
    digest: Digest,
    options: {
      readonly offset: number;
      readonly to: PeerId;
      readonly replaces: PeerId | undefined;
      readonly signal: AbortSignal;
    },
  ): Promise<PeerOffer | undefined> {
    const { offset, to, replaces, signal } = options;
    signal.throwIfAborted();
    const index = Math.floor(offset / PIECE_BYTES);
    const opened = await this.#blobs.openForPeer(digest, index, signal);
    if (opened === undefined) return undefined;
    if (signal.aborted) {
      opened.reader.close();
      throw signal.reason;
    }
    if (replaces !== undefined) this.#move(digest, replaces);
    const children = this.#children.get(digest) ?? new Set<ChildStream>();
    this.#children.set(digest, children);
    const child = new ChildStream(this.#swarm, opened, {
      index,
      to,
      pieces: this.#pieces,
      signal,
      onSent: (bytes) => {
        this.#sentBytes += bytes;
      },
      onEnd: () => {
        children.delete(child);
        if (children.size === 0 && this.#children.get(digest) === children) this.#children.delete(digest);
      },
    });
    children.add(child);
    if (this.#wasMoved(digest, to)) child.move();
    this.#looking ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return { sizeBytes: opened.reader.sizeBytes, path: child.path, events: child };
  }

  /** Who is sent this blob, for the status page. */
  childrenOf(digest: Digest): PeerId[] {
    return [...(this.#children.get(digest) ?? [])].map(({ to }) => to);
  }

  #look(): void {
    if (this.#children.size === 0) {
      clearInterval(this.#looking);
      this.#looking = undefined;
    }
    const flows = this.#flows();
    const nowMs = performance.now();
    const { strain, logger } = this.#swarm;
    const before = strain.isStrained(nowMs);
    const carriedBefore = strain.carries;
    const done = { sent: this.#sentBytes, busyMs: hooks.eventLoopUtilization().active };
    const isStrained = strain.look(nowMs, done, flows);
    if (strain.carries !== carriedBefore) logger.debug({ bytesPerSecond: strain.carries }, 'the uplink was full');
    if (!isStrained || nowMs < this.#toldAtMs + TELL_MS) return;
    if (!before) logger.info('the uplink does not carry what comes in: children are to find other parents');
    this.#toldAtMs = nowMs;
    for (const { children } of flows) for (const child of toBeTold(children)) child.strain();
  }

  /** Blobs on their way through this node. */
  #flows(): (Flow & { readonly children: readonly ChildStream[] })[] {
    return [...this.#children.values()].flatMap((set) => {
      const ingest = [...set].find((child) => child.ingest !== undefined)?.ingest;
      return ingest === undefined ? [] : [{ blob: ingest, writtenBytes: ingest.written, children: [...set] }];
    });
  }

  #move(digest: Digest, peerId: PeerId): void {
    const seated = [...(this.#children.get(digest) ?? [])].filter(({ to }) => to === peerId);
    for (const child of seated) child.move();
    if (seated.length === 0) this.#movedAtMs.set(`${digest} ${peerId}`, performance.now());
  }

  /** It lost its seat before it came. Once: when it comes again it was told so by its keeper. */
  #wasMoved(digest: Digest, peerId: PeerId): boolean {
    const key = `${digest} ${peerId}`;
    const atMs = this.#movedAtMs.get(key);
    this.#movedAtMs.delete(key);
    return atMs !== undefined && performance.now() - atMs < MOVED_MS;
  }
}

/** All of a relay's; of a writer's all but the one that is furthest, as nobody else has the bytes. */
function toBeTold(children: readonly ChildStream[]): readonly ChildStream[] {
  if (!children.some(({ fromWriter }) => fromWriter)) return children;
  const [, ...others] = [...children].sort((a, b) => b.position - a.position);
  return others;
}
