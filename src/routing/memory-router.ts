import type { PeerId } from './member.ts';
import type { Router } from './router.ts';

/** What all routers of one process know: the network of `MemoryRouter`s. */
export type MemoryRouting = Map<string, Set<PeerId>>;

/** Routers that share a map. For tests, and to show what a router is. */
export class MemoryRouter implements Router {
  readonly #routing: MemoryRouting;
  readonly #self: PeerId;

  constructor(routing: MemoryRouting, self: PeerId) {
    this.#routing = routing;
    this.#self = self;
  }

  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
  }

  async lookup(digest: string, { signal }: { readonly signal: AbortSignal }): Promise<PeerId[]> {
    signal.throwIfAborted();
    return [...(this.#routing.get(digest) ?? [])].filter((peerId) => peerId !== this.#self);
  }

  advertise(digests: Iterable<string>): void {
    for (const digest of digests) {
      const holders = this.#routing.get(digest) ?? new Set();
      this.#routing.set(digest, holders.add(this.#self));
    }
  }

  withdraw(digests: Iterable<string>): void {
    for (const digest of digests) this.#routing.get(digest)?.delete(this.#self);
  }
}
