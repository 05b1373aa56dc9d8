import { NotAsked, WindlassError } from '../errors.ts';
import type { PeerLink } from './peer-link.ts';

/** Calls of one kind to one agent at once; more wait their turn. Streams are bounded by whoever sends them. */
const MAX_CALLS = 16;
const MAX_WAITING = 1_000;

interface Peer {
  /** The one that was given back last is last. */
  readonly idle: PeerLink[];
  readonly waiting: (() => void)[];
  calls: number;
}

export interface ConnectionPoolOptions {
  readonly maxConnections: number;
  readonly idleMs: number;
}

/** Connections kept alive, by whom they lead to: given out one user at a time, closed when idle for long. */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #peers = new Map<string, Peer>();
  /** Of all peers, with the moment they came back; the longest idle first. */
  readonly #idle = new Map<PeerLink, { readonly key: string; readonly sinceMs: number }>();
  readonly #open = new Set<PeerLink>();
  readonly #sweeper: NodeJS.Timeout;
  #dialling = 0;
  #closed = false;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(50, options.idleMs / 4)).unref();
  }

  get open(): number {
    return this.#open.size;
  }

  /** An idle one, if there is one. */
  idle(key: string): PeerLink | undefined {
    const peer = this.#peers.get(key);
    for (let link = peer?.idle.pop(); link !== undefined; link = peer?.idle.pop()) {
      this.#idle.delete(link);
      if (link.connection.usable) return link;
    }
    return undefined;
  }

  /** @throws what dialling throws; PEER_BUSY: too many are in use; STOPPING */
  async dial(key: string, open: () => Promise<PeerLink>): Promise<PeerLink> {
    if (this.#closed) throw new WindlassError('STOPPING', 'this agent stops');
    if (this.#open.size + this.#dialling >= this.#options.maxConnections) {
      const [oldest] = this.#idle.keys();
      if (oldest === undefined) throw new NotAsked('too many connections to other agents');
      oldest.connection.destroy();
    }
    this.#dialling += 1;
    try {
      const link = await open();
      this.#open.add(link);
      link.connection.onClose = () => this.#gone(key, link);
      if (!link.connection.usable) this.#gone(key, link);
      if (this.#closed) link.connection.destroy();
      return link;
    } finally {
      this.#dialling -= 1;
    }
  }

  /** It is free; one that cannot be used any more is none. */
  give(key: string, link: PeerLink): void {
    if (!link.connection.usable) return;
    link.connection.used = true;
    this.#peer(key).idle.push(link);
    this.#idle.set(link, { key, sinceMs: performance.now() });
  }

  /** Its idle ones lead nowhere any more, as one of them has shown. */
  dropIdle(key: string): void {
    for (const link of [...(this.#peers.get(key)?.idle ?? [])]) link.connection.destroy();
  }

  /** Waits for a call's turn among those of its kind to one agent. @throws PEER_BUSY; the signal's reason. */
  async callTurn(key: string, signal: AbortSignal): Promise<void> {
    const peer = this.#peer(key);
    if (peer.calls < MAX_CALLS) {
      peer.calls += 1;
      return;
    }
    if (peer.waiting.length >= MAX_WAITING) throw new NotAsked('too many calls to one agent');
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        peer.waiting.splice(peer.waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      peer.waiting.push(go);
    });
  }

  endCallTurn(key: string): void {
    const peer = this.#peer(key);
    const next = peer.waiting.shift();
    if (next === undefined) peer.calls -= 1;
    else next();
    this.#forget(key, peer);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const link of [...this.#open]) link.connection.destroy();
  }

  #peer(key: string): Peer {
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      peer = { idle: [], waiting: [], calls: 0 };
      this.#peers.set(key, peer);
    }
    return peer;
  }

  #gone(key: string, link: PeerLink): void {
    this.#open.delete(link);
    this.#idle.delete(link);
    const peer = this.#peers.get(key);
    const at = peer?.idle.indexOf(link) ?? -1;
    if (peer === undefined) return;
    if (at !== -1) peer.idle.splice(at, 1);
    this.#forget(key, peer);
  }

  #forget(key: string, peer: Peer): void {
    if (peer.calls === 0 && peer.idle.length === 0 && this.#peers.get(key) === peer) this.#peers.delete(key);
  }

  #sweep(): void {
    const before = performance.now() - this.#options.idleMs;
    for (const [link, { sinceMs }] of this.#idle) {
      if (sinceMs > before) return;
      link.connection.destroy();
    }
  }
}
