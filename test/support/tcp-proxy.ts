import { connect, createServer, type Server, type Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scratch } from './scratch.ts';

/**
 * How a connection ends: `fin` after all that was passed has arrived; `reset` at once, so that bytes which are still
 * under way may be lost.
 */
export type CutKind = 'fin' | 'reset';

/**
 * A TCP proxy on 127.0.0.1 that misbehaves on demand. "Down" is what flows from the target to the client; only that
 * way is counted, slowed and broken. All settings may be changed while connections run, but for those of new ones.
 *
 * ```
 *  client ◀──down── [ rate → stall/cut/freeze at a byte ] ◀── latency ◀── target
 *         ────up────────────────────────────────────────────▶ latency ──▶
 * ```
 */
export class TcpProxy {
  /** Bytes per second over all connections together; undefined: as fast as it goes. */
  rateBytesPerSecond: number | undefined;
  /** How long each new connection waits before it is joined to the target. */
  delayMs = 0;
  /** How long each byte of a new connection is under way, in either direction. */
  latencyMs = 0;
  /** New connections are accepted and then hear nothing: packets swallowed. */
  swallow = false;
  connections = 0;
  downBytes = 0;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #open = new Set<Socket>();
  readonly #waiters: { atBytes: number; resolve: () => void }[] = [];
  #server: Server | undefined;
  #port = 0;
  #freeAtMs = 0;
  #cut: { atBytes: number; kind: CutKind | 'freeze' } | undefined;
  #stallAtBytes = Number.POSITIVE_INFINITY;
  #resumed = Promise.withResolvers<void>();

  constructor(target: { readonly host?: string; readonly port: number }) {
    this.#target = { host: target.host ?? '127.0.0.1', port: target.port };
  }

  static async start(scratch: Scratch, target: { readonly host?: string; readonly port: number }): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    scratch.defer(() => proxy.stop());
    await proxy.listen();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens, on the same port as before if it did already. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#accept(client));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    const address = server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    this.#server = server;
  }

  /** New connections are refused from now on, until `listen`; running ones go on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close(); // stops listening at once; its 'close' would wait for the running connections
  }

  /** Refuses, cuts everything, and lets stalled bytes go. Idempotent. */
  async stop(): Promise<void> {
    await this.refuse();
    this.cutAll('reset');
    this.resume();
  }

  /** The connection that carries the byte `afterBytes` from now is ended there, once. */
  cutAfter(afterBytes: number, kind: CutKind = 'fin'): void {
    this.#cut = { atBytes: this.downBytes + afterBytes, kind };
  }

  /**
   * The connection that carries the byte `afterBytes` from now carries nothing after it, in neither direction and no
   * FIN either, until `resume`. The others go on.
   */
  freezeAfter(afterBytes: number): void {
    this.#cut = { atBytes: this.downBytes + afterBytes, kind: 'freeze' };
  }

  /** After `afterBytes` more bytes nothing flows down any more on any connection, until `resume`. */
  stallAfter(afterBytes: number): void {
    this.#stallAtBytes = this.downBytes + afterBytes;
  }

  resume(): void {
    this.#stallAtBytes = Number.POSITIVE_INFINITY;
    this.#resumed.resolve();
    this.#resumed = Promise.withResolvers<void>();
  }

  /** Ends all connections now. */
  cutAll(kind: CutKind = 'reset'): void {
    for (const socket of this.#open) end(socket, kind);
  }

  /** Resolves when `bytes` have flowed down since the start. */
  passed(bytes: number): Promise<void> {
    if (this.downBytes >= bytes) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ atBytes: bytes, resolve }));
  }

  #accept(client: Socket): void {
    this.connections += 1;
    this.#open.add(client);
    client.once('close', () => this.#open.delete(client));
    client.on('error', () => {
      // Ends in 'close', which is what is acted upon.
    });
    client.setNoDelay(true);
    if (this.swallow) {
      client.resume();
      return;
    }
    void this.#join(client);
  }

  async #join(client: Socket): Promise<void> {
    if (this.delayMs > 0) await sleep(this.delayMs);
    if (client.destroyed) return;
    const gone = new Promise<void>((resolve) => client.once('close', () => resolve()));
    const target = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    client.once('close', () => target.destroy());
    const { latencyMs } = this;
    const up = latencyMs > 0 ? client.pipe(new Latency(latencyMs)) : client;
    up.pipe(target);
    const down = latencyMs > 0 ? target.pipe(new Latency(latencyMs)) : target;
    if (down !== target) target.once('error', (error) => down.destroy(error));
    try {
      for await (const chunk of down as AsyncIterable<Buffer>) {
        if (!(await this.#pass(client, gone, chunk))) break;
      }
      client.end();
    } catch {
      client.resetAndDestroy(); // the target refused, or reset
    }
    client.unpipe();
    client.resume(); // so that the client's own FIN is seen
    target.destroy();
  }

  /** Sends a chunk down in as many steps as rate, stall and cut ask for. @returns false once the client is gone */
  async #pass(client: Socket, gone: Promise<void>, chunk: Buffer): Promise<boolean> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.downBytes >= this.#stallAtBytes) await Promise.race([this.#resumed.promise, gone]);
      if (client.destroyed || client.writableEnded) return false;
      const cut = this.#cut;
      const step = Math.min(
        rest.length,
        16 * 1024,
        Math.max(1, this.#stallAtBytes - this.downBytes),
        cut === undefined ? rest.length : Math.max(0, cut.atBytes - this.downBytes),
      );
      const part = rest.subarray(0, step);
      rest = rest.subarray(step);
      this.downBytes += step; // before the wait, so that connections that run at once share rate, stall and cut
      await this.#turn(step);
      if (step > 0 && !client.write(part)) await Promise.race([drained(client), gone]);
      this.#tellWaiters();
      if (cut !== undefined && cut === this.#cut && this.downBytes >= cut.atBytes) {
        this.#cut = undefined;
        if (cut.kind === 'freeze') {
          await this.#freeze(client);
          continue;
        }
        end(client, cut.kind);
        return false;
      }
    }
    return true;
  }

  async #freeze(client: Socket): Promise<void> {
    client.pause();
    await this.#resumed.promise;
    client.resume();
  }

  /** Virtual time: each byte takes its share; short waits are saved up, since timers are coarse. */
  async #turn(bytes: number): Promise<void> {
    const rate = this.rateBytesPerSecond;
    if (rate === undefined) return;
    const now = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, now) + (bytes / rate) * 1000;
    if (this.#freeAtMs - now > 4) await sleep(this.#freeAtMs - now);
  }

  #tellWaiters(): void {
    for (let i = this.#waiters.length - 1; i >= 0; i -= 1) {
      const waiter = this.#waiters[i];
      if (waiter !== undefined && this.downBytes >= waiter.atBytes) {
        this.#waiters.splice(i, 1);
        waiter.resolve();
      }
    }
  }
}

/** What goes in comes out so much later, its end too. It takes all that comes: tests send little. */
class Latency extends Transform {
  readonly #ms: number;

  constructor(ms: number) {
    super();
    this.#ms = ms;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    setTimeout(() => this.push(chunk), this.#ms); // timers of the same length fire in order
    done();
  }

  override _flush(done: TransformCallback): void {
    setTimeout(done, this.#ms);
  }
}

function end(socket: Socket, kind: CutKind): void {
  if (kind === 'reset') socket.resetAndDestroy();
  else socket.end();
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('drain', () => resolve()));
}
