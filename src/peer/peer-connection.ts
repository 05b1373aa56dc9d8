import { connect, isIP, type Socket, type TcpNetConnectOpts } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { NotAsked, systemCode, WindlassError } from '../errors.ts';
import type { Input } from './input.ts';
import { type ResponseHead, ResponseParser } from './response-parser.ts';

/** What becomes of one request. After `onDone` and `onFailed` nothing is called any more. */
export interface ResponseHandler {
  onHead(head: ResponseHead): void;
  /**
   * Takes of the body what it can.
   * @returns false: it took what it wants for now, and `resume` goes on; else it took all.
   */
  onBody(input: Input): boolean;
  /** The answer is whole: the connection is free. */
  onDone(): void;
  onFailed(error: WindlassError): void;
  /** Of the body, how many bytes are wanted that nobody waits for one by one: reads may be put together. */
  lacking?(): number;
}

/** One buffer a connection, used again for each read: nothing is left to the collector. */
const READ_BYTES = 64 * 1024;
/**
 * A link brings bytes by the packet, and each read event costs (0.2 ms of CPU with cold caches). Nobody waits for the
 * middle of a piece: what comes within these bounds is read together.
 */
const BATCH_BYTES = 256 * 1024;
const MAX_PAUSE_MS = 30;
/** Of a new connection, so much is read as it comes: the system's window has to grow first. */
const EAGER_BYTES = 1024 * 1024;

/**
 * One HTTP/1.1 connection to another agent, over TLS or not; one request at a time. Hand-written because streams at
 * the pace of a slow link cost several times as much with undici or node:http (test/bench/README.md), and because
 * connections carry who is at their other end.
 */
export class PeerConnection {
  readonly socket: Socket;
  readonly #parser = new ResponseParser();
  #handler: ResponseHandler | undefined;
  #held: Buffer[] = [];
  #pausedByHandler = false;
  #failure: WindlassError | undefined;
  #reading = true;
  #timer: NodeJS.Timeout | undefined;
  #checking = false;
  #readBytes = 0;
  #burstBytes = 0;
  #burstEndedMs = 0;
  /** Bytes a ms, of late. */
  #rate = 1_000_000;
  /** It was used before: the other side may have closed it while the request was under way. */
  used = false;
  /** Called once, when it cannot be used any more. */
  onClose: (() => void) | undefined;

  private constructor(makeSocket: (onread: TcpNetConnectOpts['onread']) => Socket) {
    this.socket = makeSocket({
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (count, buffer) => this.#read(count, buffer),
    });
    this.socket.setNoDelay(true);
    this.socket.on('error', (error) => this.#fail(isOurs(error) ? busy(error) : gone(error.message, error)));
    this.socket.on('end', () => this.#fail(gone('the connection ended')));
    this.socket.on('close', () => this.#fail(gone('the connection was closed')));
  }

  /**
   * @param tls undefined: not encrypted.
   * @param onSocket called before anything has come.
   * @throws PEER_GONE; the signal's reason.
   */
  static async open(
    address: { readonly host: string; readonly port: number },
    tls: ConnectionOptions | undefined,
    signal: AbortSignal,
    onSocket?: (socket: Socket) => void,
  ): Promise<PeerConnection> {
    signal.throwIfAborted();
    const connection = new PeerConnection((onread) =>
      tls === undefined
        ? connect({ ...address, onread, autoSelectFamily: isIP(address.host) === 0 } as TcpNetConnectOpts)
        : connectTls({ ...address, ...tls, onread } as ConnectionOptions),
    );
    const { socket } = connection;
    onSocket?.(socket);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        reject(signal.reason);
        socket.destroy();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const settle = () => signal.removeEventListener('abort', onAbort);
      connection.onClose = () => {
        settle();
        reject(connection.#failure ?? gone('the connection was closed'));
      };
      socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
        settle();
        connection.onClose = undefined;
        resolve(connection);
      });
    });
  }

  get usable(): boolean {
    return this.#failure === undefined && !this.socket.destroyed;
  }

  /** @param head the request's, up to the empty line and with it. */
  request(head: string, body: Uint8Array | undefined, handler: ResponseHandler): void {
    if (this.#handler !== undefined) throw new Error('a request is under way');
    if (this.#failure !== undefined) {
      handler.onFailed(this.#failure);
      return;
    }
    this.#handler = handler;
    this.#parser.reset();
    if (body === undefined) {
      this.socket.write(head, 'latin1');
    } else {
      this.socket.cork();
      this.socket.write(head, 'latin1');
      this.socket.write(body);
      this.socket.uncork();
    }
  }

  /** After `onBody` said that it takes no more for now. */
  resume(): void {
    if (!this.#pausedByHandler) return;
    this.#pausedByHandler = false;
    const held = this.#held;
    this.#held = [];
    for (const [index, bytes] of held.entries()) {
      this.#take(bytes);
      if (this.#pausedByHandler) {
        this.#held.push(...held.slice(index + 1));
        return;
      }
    }
    this.#go();
  }

  destroy(): void {
    this.#fail(gone('closed by this side'));
  }

  #read(count: number, buffer: Uint8Array): boolean {
    const bytes = buffer.subarray(0, count);
    this.#burstBytes += count;
    this.#readBytes += count;
    if (this.#pausedByHandler) this.#held.push(Buffer.from(bytes));
    else this.#take(bytes);
    if (this.#handler?.lacking !== undefined && !this.#checking) {
      this.#checking = true;
      setImmediate(() => this.#endBurst());
    }
    const goOn = !this.#pausedByHandler && this.#timer === undefined;
    this.#reading = goOn;
    return goOn;
  }

  #take(bytes: Uint8Array): void {
    const input: Input = { bytes, at: 0, end: bytes.length };
    try {
      while (input.at < input.end && this.#failure === undefined) {
        const handler = this.#handler;
        if (handler === undefined) throw new WindlassError('PEER_NONSENSE', 'the other agent answered unasked');
        const hadHead = this.#parser.head !== undefined;
        const bodyBytes = this.#parser.next(input);
        if (!hadHead && this.#parser.head !== undefined) handler.onHead(this.#parser.head);
        if (bodyBytes > 0 && this.#failure === undefined) {
          const body: Input = { bytes, at: input.at, end: input.at + bodyBytes };
          const goOn = handler.onBody(body);
          this.#parser.took(body.at - input.at);
          input.at = body.at;
          if (!goOn && !this.#parser.done) {
            this.#pausedByHandler = true;
            if (input.at < input.end) this.#held.unshift(Buffer.from(bytes.subarray(input.at, input.end)));
            return;
          }
        }
        if (this.#parser.done && this.#handler === handler) {
          this.#handler = undefined;
          if (this.#parser.head?.headers.get('connection') === 'close') this.destroy();
          handler.onDone();
        }
      }
    } catch (error) {
      this.#fail(error instanceof WindlassError ? error : new WindlassError('PEER_NONSENSE', String(error)));
    }
  }

  /** All that had come was read. Was it little, the next read waits until it may be more. */
  #endBurst(): void {
    this.#checking = false;
    const now = performance.now();
    const burst = this.#burstBytes;
    this.#burstBytes = 0;
    const elapsedMs = Math.max(0.01, now - this.#burstEndedMs);
    this.#burstEndedMs = now;
    // A second's pause says nothing about the link.
    if (elapsedMs < 100) this.#rate += (burst / elapsedMs - this.#rate) * Math.min(1, elapsedMs / 20);
    if (this.#failure !== undefined || this.#pausedByHandler) return;
    if (burst >= BATCH_BYTES || this.#readBytes < EAGER_BYTES) return;
    const lacking = this.#handler?.lacking?.() ?? 0;
    const pauseMs = Math.floor(Math.min(MAX_PAUSE_MS, Math.min(lacking, BATCH_BYTES) / Math.max(this.#rate, 1)));
    if (pauseMs < 1) return;
    this.#reading = false;
    this.socket.pause();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#go();
    }, pauseMs);
  }

  #go(): void {
    if (this.#failure !== undefined || this.#pausedByHandler || this.#timer !== undefined || this.#reading) return;
    this.#reading = true;
    this.socket.resume();
  }

  #fail(error: WindlassError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    clearTimeout(this.#timer);
    this.#held = [];
    this.socket.destroy();
    const handler = this.#handler;
    this.#handler = undefined;
    this.onClose?.();
    handler?.onFailed(error);
  }
}

/** For want of something here. */
const OURS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM', 'ENETDOWN']);

function isOurs(error: Error): boolean {
  return OURS.has(systemCode(error) ?? '');
}

function busy(cause: Error): WindlassError {
  return new NotAsked(`no connection can be made here: ${cause.message}`, cause);
}

function gone(message: string, cause?: unknown): WindlassError {
  return new WindlassError('PEER_GONE', message, { cause });
}
