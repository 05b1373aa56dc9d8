import type { Candidate, Discovery } from './discovery.ts';

/** The agents that the settings name (`discovery.peers`). */
export class StaticDiscovery implements Discovery {
  readonly #candidates: readonly Candidate[];

  /** @param addresses `host:port` each */
  constructor(addresses: readonly string[]) {
    this.#candidates = [...new Set(addresses)].map((address) => ({ address }));
  }

  async start(listener: (candidates: readonly Candidate[]) => void): Promise<void> {
    if (this.#candidates.length > 0) listener(this.#candidates);
  }

  async stop(): Promise<void> {}
}
