import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { Blobs } from './blobs.ts';
import { ChildStream } from './child-stream.ts';
import type { PeerOffer, PeerOffers } from './peer-streams.ts';
import { PIECE_BYTES } from './piece.ts';
import { SharedPieces } from './shared-pieces.ts';
import type { Swarm } from './swarm.ts';

/** Blobs, held or on their way in, for other agents: each at its own pace, from the file. */
export class Offers implements PeerOffers {
  readonly #blobs: Pick<Blobs, 'openForPeer'>;
  readonly #swarm: Swarm;
  /** Those that are being sent: as many as there are uploads. */
  readonly #pieces = new SharedPieces();
  readonly #children = new Map<Digest, Set<ChildStream>>();

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
      onEnd: () => {
        children.delete(child);
        if (children.size === 0 && this.#children.get(digest) === children) this.#children.delete(digest);
      },
    });
    children.add(child);
    return { sizeBytes: opened.reader.sizeBytes, path: child.path, events: child };
  }

  /** Who is sent this blob, for the status page. */
  childrenOf(digest: Digest): PeerId[] {
    return [...(this.#children.get(digest) ?? [])].map(({ to }) => to);
  }

  #move(digest: Digest, peerId: PeerId): void {
    for (const child of this.#children.get(digest) ?? []) if (child.to === peerId) child.move();
  }
}
