import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import { TokenBucket } from './token-bucket.ts';
import { Transfer } from './transfer.ts';

const WINDOW_MS = 1_000;

export interface UploadsOptions {
  readonly maxUploads: number;
  /** Of all together; 0: no limit. */
  readonly uploadRateBytesPerSecond: number;
  readonly metrics: Metrics;
}

/** What this agent sends to others: how many streams at once, how fast all together, and what was reached. */
export class Uploads {
  readonly #max: number;
  readonly #metrics: Metrics;
  readonly #running = new Set<Transfer>();
  readonly bucket: TokenBucket;
  #onIdle: (() => void)[] = [];
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #windowBytes = 0;
  /** Of a window that began while nothing was sent: what fills the system's buffers does not count. */
  #windowIsFirst = true;
  #highestRate: number | undefined;

  constructor({ maxUploads, uploadRateBytesPerSecond, metrics }: UploadsOptions) {
    this.#max = maxUploads;
    this.#metrics = metrics;
    this.bucket = new TokenBucket(uploadRateBytesPerSecond);
  }

  /** Bytes a second: the highest rate sent for a second; undefined until there was one. */
  get highestRate(): number | undefined {
    return this.#highestRate;
  }

  get running(): readonly Transfer[] {
    return [...this.#running];
  }

  /**
   * Takes a slot; undefined: all are taken. Whoever takes the seat of another one, which is to be let go, may be one
   * too many until then.
   */
  begin(peerId: PeerId, digest: Digest, replaces?: PeerId): Transfer | undefined {
    const full = this.#running.size >= this.#max;
    const seat = [...this.#running].some((other) => other.peerId === replaces && other.digest === digest);
    if (full && !(seat && this.#running.size === this.#max)) {
      this.#metrics.peerRefused.inc({ plane: 'data', reason: 'busy' });
      return undefined;
    }
    const transfer = new Transfer('upload', peerId, digest);
    this.#running.add(transfer);
    this.#metrics.peerUploads.set(this.#running.size);
    return transfer;
  }

  sent(transfer: Transfer, bytes: number): void {
    transfer.bytes += bytes;
    this.#metrics.peerSentBytes.inc(bytes);
    const now = performance.now();
    const elapsedMs = now - this.#windowStartMs;
    if (elapsedMs >= WINDOW_MS) {
      const busy = elapsedMs < 2 * WINDOW_MS;
      if (busy && !this.#windowIsFirst) {
        this.#highestRate = Math.max(this.#highestRate ?? 0, (this.#windowBytes * 1000) / elapsedMs);
      }
      this.#windowIsFirst = !busy;
      this.#windowStartMs = now;
      this.#windowBytes = 0;
    }
    this.#windowBytes += bytes;
  }

  end(transfer: Transfer): void {
    this.#running.delete(transfer);
    this.#metrics.peerUploads.set(this.#running.size);
    if (this.#running.size === 0) for (const call of this.#onIdle.splice(0)) call();
  }

  /** Resolves when nothing is being sent. */
  idle(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }
}
