import { WindlassError } from '../errors.ts';
import type { BlobWriter } from '../store/blob-store.ts';
import type { IngestReader } from './ingest-reader.ts';
import { Wakeup } from './wakeup.ts';

/** While passing (no room): how far the writer may be ahead of the slowest reader, in memory. */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** While passing: what holds up the other readers for so long is left behind. */
const SLOW_READER_MS = 20_000;

/** The readers of one ingest, and what the writer does for the slowest of them while nothing is kept. */
export class IngestReaders {
  readonly #readers = new Set<IngestReader>();
  readonly #moved = new Wakeup();

  get size(): number {
    return this.#readers.size;
  }

  /** Of them, other agents. */
  get children(): number {
    let children = 0;
    for (const { forPeer } of this.#readers) if (forPeer) children += 1;
    return children;
  }

  add(reader: IngestReader): void {
    this.#readers.add(reader);
  }

  delete(reader: IngestReader): void {
    this.#readers.delete(reader);
    this.#moved.wake();
  }

  /** A reader has gone on. */
  moved(): void {
    this.#moved.wake();
  }

  /**
   * While passing: discards what all have read, and waits until what is left fits the window. Who holds up others
   * for SLOW_READER_MS is left behind; a reader that is alone may take its time.
   */
  async makeRoom(writer: BlobWriter, signal: AbortSignal, onLeftBehind: () => void): Promise<void> {
    if (writer.kept || this.#fits(writer)) return;
    let late = false;
    const timer = setInterval(() => {
      late = true;
      this.#moved.wake();
    }, SLOW_READER_MS);
    try {
      while (!this.#fits(writer)) {
        await this.#moved.wait(signal);
        const slowest = this.#slowest();
        if (late && slowest !== undefined && this.#readers.size > 1 && !this.#fits(writer)) {
          slowest.evicted = new WindlassError(
            'READER_TOO_SLOW',
            `held up other readers for ${SLOW_READER_MS / 1000} s while the disk is full`,
          );
          this.#readers.delete(slowest);
          onLeftBehind();
        }
        late = false;
      }
    } finally {
      clearInterval(timer);
    }
  }

  #fits(writer: BlobWriter): boolean {
    const position = this.#slowest()?.position ?? writer.written;
    writer.discard(position);
    return writer.written - position <= WINDOW_BYTES;
  }

  #slowest(): IngestReader | undefined {
    let slowest: IngestReader | undefined;
    for (const reader of this.#readers) {
      if (slowest === undefined || reader.position < slowest.position) slowest = reader;
    }
    return slowest;
  }
}
