import type { MessageStream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import { WindlassError } from '../../errors.ts';

/** Unread bytes of somebody who has not proven anything yet. */
const MAX_UNREAD_BYTES = 256 * 1024;

/** Reads a stream by counted bytes, and gives it back with what was not read. One read at a time. */
export class ExactReader {
  readonly #stream: MessageStream;
  #unread: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(stream: MessageStream) {
    this.#stream = stream;
    stream.addEventListener('message', this.#onMessage);
    stream.addEventListener('close', this.#onClose);
    if (stream.status !== 'open') this.#failure = gone();
  }

  /** @throws PEER_GONE if the stream ends before; PEER_NONSENSE if it sends too much; the signal's reason. */
  async read(bytes: number, signal: AbortSignal): Promise<Buffer> {
    const wake = () => this.#wake();
    signal.addEventListener('abort', wake);
    try {
      for (;;) {
        if (this.#unread.length >= bytes) {
          const read = this.#unread.subarray(0, bytes);
          this.#unread = this.#unread.subarray(bytes);
          return read;
        }
        signal.throwIfAborted();
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** To be called in any case, and before anybody else reads. */
  release(): void {
    this.#stream.removeEventListener('message', this.#onMessage);
    this.#stream.removeEventListener('close', this.#onClose);
    if (this.#unread.length > 0 && this.#stream.status === 'open') this.#stream.unshift(this.#unread);
    this.#unread = Buffer.alloc(0);
  }

  readonly #onMessage = ({ data }: StreamMessageEvent): void => {
    this.#unread = Buffer.concat([this.#unread, data.subarray()]);
    if (this.#unread.length > MAX_UNREAD_BYTES) {
      this.#unread = Buffer.alloc(0);
      this.#failure = new WindlassError('PEER_NONSENSE', 'sent more than it was asked for');
      this.#stream.removeEventListener('message', this.#onMessage);
    }
    this.#wake();
  };

  readonly #onClose = ({ error }: StreamCloseEvent): void => {
    this.#failure ??= gone(error);
    this.#wake();
  };
}

function gone(cause?: Error): WindlassError {
  return new WindlassError('PEER_GONE', 'the connection ended', { cause });
}
