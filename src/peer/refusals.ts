import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';

/** handshake: no TLS of ours. certificate: none, or not of an Ed25519 key. proof: none of a secret of ours. */
type StrangerFault = 'handshake' | 'certificate' | 'proof';

const LOG_EVERY_MS = 60_000;
const MAX_ADDRESSES = 1_000;

/** Strangers at the door of the data plane: each is counted, and logged at most once a minute and address. */
export class Refusals {
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #addresses = new LRUCache<string, { loggedAtMs: number; unlogged: number }>({ max: MAX_ADDRESSES });

  constructor(logger: Logger, metrics: Metrics) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  stranger(address: string, fault: StrangerFault, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#metrics.peerRefused.inc({ plane: 'data', reason: 'stranger' });
    const now = performance.now();
    const seen = this.#addresses.get(address);
    if (seen !== undefined && now - seen.loggedAtMs < LOG_EVERY_MS) {
      seen.unlogged += 1;
      return;
    }
    this.#addresses.set(address, { loggedAtMs: now, unlogged: 0 });
    this.#logger.warn({ address, fault, before: seen?.unlogged ?? 0, ...fields }, 'stranger refused');
  }
}
