import type { Connection, Stream } from '@libp2p/interface';
import type { Logger } from 'pino';
import { hasCode } from '../../errors.ts';
import type { Timers } from '../../time/timers.ts';
import type { PeerId, SignedMember } from '../member.ts';
import type { MemberEntry } from '../member-entry.ts';
import { answerHello, HELLO_PROTOCOL, type HelloOptions, isVersionGap, sayHello } from './hello.ts';
import type { ControlNode } from './libp2p-node.ts';
import type { Refusals } from './refusals.ts';

export type HelloListener = (entry: SignedMember, from: PeerId) => void;

/** From the opening of an incoming connection to its hello. */
const HELLO_WITHIN_MS = 10_000;
const LAST_WORDS_MS = 1_000;
/** A connection that was closed sooner was not wanted by the other side. */
const EARLY_MS = 10_000;

export interface GreetingsOptions {
  readonly node: ControlNode;
  readonly hello: HelloOptions;
  readonly refusals: Refusals;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly greeted: (connection: Connection) => void;
  readonly refused: (peerId: PeerId) => void;
  readonly closed: (connection: Connection, how: { readonly early: boolean }) => void;
}

/** Says hello on each new connection; only who has said it too is a peer. */
export class Greetings {
  readonly #options: GreetingsOptions;
  readonly #peers = new Map<PeerId, Set<Connection>>();
  readonly #openedAtMs = new Map<Connection, number>();
  readonly #helloListeners = new Set<HelloListener>();
  readonly #disconnectListeners = new Set<(peerId: PeerId) => void>();
  #stopped = false;

  constructor(options: GreetingsOptions) {
    this.#options = options;
  }

  get peers(): readonly PeerId[] {
    return [...this.#peers.keys()];
  }

  has(peerId: PeerId): boolean {
    return this.#peers.has(peerId);
  }

  async start(): Promise<void> {
    const { node } = this.#options;
    node.addEventListener('connection:open', ({ detail }) => this.#opened(detail));
    node.addEventListener('connection:close', ({ detail }) => this.#closed(detail));
    const handler = (stream: Stream, connection: Connection) => void this.#answer(stream, connection);
    await node.handle(HELLO_PROTOCOL, handler, { maxInboundStreams: 2, maxOutboundStreams: 2 });
  }

  /** Nobody is told of anything any more. */
  stop(): void {
    this.#stopped = true;
    this.#helloListeners.clear();
    this.#disconnectListeners.clear();
  }

  onHello(listener: HelloListener): () => void {
    this.#helloListeners.add(listener);
    return () => this.#helloListeners.delete(listener);
  }

  onDisconnect(listener: (peerId: PeerId) => void): () => void {
    this.#disconnectListeners.add(listener);
    return () => this.#disconnectListeners.delete(listener);
  }

  #opened(connection: Connection): void {
    const { timers } = this.#options;
    this.#openedAtMs.set(connection, timers.now());
    if (connection.direction === 'outbound') {
      void this.#greet(connection, () => sayHello(connection, this.#options.hello));
      return;
    }
    timers.after(HELLO_WITHIN_MS, () => {
      const greeted = this.#peers.get(connection.remotePeer.toString())?.has(connection) === true;
      if (greeted || connection.status !== 'open' || this.#stopped) return;
      this.#refuse(connection, 'nonsense', 'no hello');
    });
  }

  async #answer(stream: Stream, connection: Connection): Promise<void> {
    await this.#greet(connection, () => answerHello(stream, connection, this.#options.hello));
  }

  async #greet(connection: Connection, exchange: () => Promise<MemberEntry>): Promise<void> {
    const { logger, greeted, refused } = this.#options;
    const peer = connection.remotePeer.toString();
    try {
      const entry = await exchange();
      if (connection.status !== 'open' || this.#stopped) return;
      const connections = this.#peers.get(peer) ?? new Set();
      const isNew = connections.size === 0;
      this.#peers.set(peer, connections.add(connection));
      if (isNew) logger.info({ peer, node: entry.member.nodeName, direction: connection.direction }, 'peer connected');
      this.#tell(() => {
        for (const listener of this.#helloListeners) listener(entry.signed, peer);
      });
      greeted(connection);
    } catch (error) {
      if (this.#stopped) return;
      const why = error instanceof Error ? error.message : String(error);
      if (isVersionGap(error)) {
        this.#refuse(connection, 'version', why);
        refused(peer);
      } else if (hasCode(error, 'PEER_NONSENSE')) {
        this.#refuse(connection, 'nonsense', why);
        refused(peer);
      } else {
        logger.debug({ peer, err: error }, 'no hello');
        connection.abort(error instanceof Error ? error : new Error(why));
      }
    }
  }

  #refuse(connection: Connection, reason: 'version' | 'nonsense', why: string): void {
    const peer = connection.remotePeer.toString();
    const { refusals, timers } = this.#options;
    refusals.count(reason, { address: connection.remoteAddr.toString(), peer, why });
    const close = () => {
      if (connection.status === 'open') connection.close().catch((error: Error) => connection.abort(error));
    };
    // Closing takes what was not sent yet with it, and who dialled is to read our entry, and to close.
    if (connection.direction === 'inbound') timers.after(LAST_WORDS_MS, close);
    else close();
  }

  #closed(connection: Connection): void {
    const { timers, closed, logger } = this.#options;
    const peer = connection.remotePeer.toString();
    const openedAtMs = this.#openedAtMs.get(connection) ?? 0;
    this.#openedAtMs.delete(connection);
    const connections = this.#peers.get(peer);
    connections?.delete(connection);
    const lost = connections?.size === 0;
    if (lost) this.#peers.delete(peer);
    if (this.#stopped) return;
    closed(connection, { early: timers.now() - openedAtMs < EARLY_MS });
    if (!lost) return;
    logger.info({ peer }, 'peer disconnected');
    this.#tell(() => {
      for (const listener of this.#disconnectListeners) listener(peer);
    });
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (err) {
      this.#options.logger.error({ err }, 'a listener of the control plane failed');
    }
  }
}
