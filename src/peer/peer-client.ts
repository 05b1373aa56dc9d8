import type { Logger } from 'pino';
import { hasCode, NotAsked, WindlassError } from '../errors.ts';
import type { Metrics, ZoneLabel } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { Parent } from '../pull/claims/messages.ts';
import type { PeerStream, PeerStreams } from '../pull/peer-streams.ts';
import { PieceBuffers } from '../pull/piece-buffers.ts';
import type { ClusterSecrets } from '../routing/cluster-secret.ts';
import type { Identity } from '../routing/identity.ts';
import type { Member, PeerId } from '../routing/member.ts';
import { type CallOptions, type CallPath, MAX_CALL_BYTES, type PeerCalls } from '../routing/peer-calls.ts';
import { Bound } from './bound.ts';
import { ConnectionPool } from './connection-pool.ts';
import { parseHostPort } from './data-address.ts';
import { Membership } from './membership.ts';
import { type Answer, exchange, requestHead } from './peer-exchange.ts';
import type { PeerDialer, PeerLink } from './peer-link.ts';
import { errorOfStatus } from './peer-status.ts';
import { PieceStream } from './piece-stream.ts';
import { PlainDialer } from './plain-dialer.ts';
import { TlsDialer } from './tls-dialer.ts';
import { Transfer } from './transfer.ts';
import { API_PATH, BLOBS_PATH, withQuery } from './wire.ts';

export interface PeerClientOptions {
  readonly encryption: 'tls' | 'none';
  readonly identity: Identity;
  readonly secrets: ClusterSecrets;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Where an agent is, for the metrics; by default nobody knows. */
  readonly zoneOf?: (peerId: PeerId) => ZoneLabel;
  /** A connection, TLS and proofs included. */
  readonly connectTimeoutMs?: number;
  /** From the request for a blob to the first bytes of the answer. */
  readonly firstByteTimeoutMs?: number;
  /** A stream without a frame, and with hardly a byte, for so long is left. */
  readonly stallTimeoutMs?: number;
  /** An unused connection is kept for so long. Less than the server's 60 s. */
  readonly idleMs?: number;
  readonly maxConnections?: number;
}

/** More blobs at once take one piece of memory each, not two. */
const MANY_STREAMS = 8;

interface Target {
  readonly key: string;
  readonly address: string;
  readonly peerId: PeerId | undefined;
}

/** Calls to other agents, and blobs from them, over connections kept warm. */
export class PeerClient implements PeerCalls, PeerStreams {
  readonly #metrics: Metrics;
  readonly #zoneOf: (peerId: PeerId) => ZoneLabel;
  readonly #dialer: PeerDialer;
  readonly #pool: ConnectionPool;
  readonly #connectTimeoutMs: number;
  readonly #firstByteTimeoutMs: number;
  readonly #stallTimeoutMs: number;
  readonly #downloads = new Set<Transfer>();
  readonly #buffers = new PieceBuffers();

  constructor(options: PeerClientOptions) {
    const { identity, secrets, metrics, idleMs = 30_000, maxConnections = 1_024 } = options;
    this.#metrics = metrics;
    this.#zoneOf = options.zoneOf ?? (() => 'unknown');
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 2_000;
    this.#firstByteTimeoutMs = options.firstByteTimeoutMs ?? 2_000;
    this.#stallTimeoutMs = options.stallTimeoutMs ?? 2_000;
    this.#dialer =
      options.encryption === 'tls'
        ? new TlsDialer(identity, new Membership(identity.peerId, secrets))
        : new PlainDialer(identity, secrets);
    this.#pool = new ConnectionPool({ maxConnections, idleMs });
  }

  /** Blobs that are coming now. */
  get downloads(): readonly Transfer[] {
    return [...this.#downloads];
  }

  /** Open connections to other agents. */
  get connections(): number {
    return this.#pool.open;
  }

  async call(to: Member | string, path: CallPath, body: unknown, options: CallOptions): Promise<unknown> {
    const { signal, timeoutMs, held = false } = options;
    signal.throwIfAborted();
    const target = targetOf(to);
    const bytes = Buffer.from(JSON.stringify(body ?? null));
    if (bytes.length > MAX_CALL_BYTES) throw new WindlassError('PEER_NONSENSE', `a call of ${bytes.length} bytes`);
    // Held ones may fill their turns for seconds: what keeps leases and members alive has its own.
    const turns = `${target.key} ${held ? 'held' : path === 'roster' ? 'roster' : 'calls'}`;
    const startMs = performance.now();
    let waitedMs = Number.POSITIVE_INFINITY;
    // What little time was left to it says nothing of it.
    const late = () =>
      waitedMs < timeoutMs / 10
        ? new WindlassError('PEER_SILENT', `${target.address} did not answer ${path} in ${timeoutMs} ms`)
        : new NotAsked(`calls to ${target.address} waited for each other for ${timeoutMs} ms`);
    const bound = new Bound(signal, timeoutMs, late);
    try {
      await this.#pool.callTurn(turns, bound.signal);
      waitedMs = performance.now() - startMs;
      try {
        const answer = await this.#exchange(target, path, bytes, timeoutMs, bound.signal);
        return parseAnswer(answer, target);
      } finally {
        this.#pool.endCallTurn(turns);
      }
    } finally {
      bound.end();
    }
  }

  async open(
    parent: Parent,
    digest: Digest,
    options: { readonly offset: number; readonly replaces?: PeerId | undefined; readonly signal: AbortSignal },
  ): Promise<PeerStream> {
    options.signal.throwIfAborted();
    const target = targetOf(parent);
    const waitMs = this.#firstByteTimeoutMs;
    const silent = () => new WindlassError('PEER_SILENT', `${parent.peerId} sent nothing in ${waitMs} ms`);
    const bound = new Bound(options.signal, waitMs, silent);
    try {
      return await this.#withLink(target, bound.signal, (link) =>
        this.#stream(link, target, digest, bound.signal, options),
      );
    } finally {
      bound.end();
    }
  }

  /** It is thought dead: what is open to it and unused may lead nowhere by the time that it is back. */
  forget({ peerId, dataAddress }: Member): void {
    this.#pool.dropIdle(keyOf(peerId, dataAddress));
  }

  /** Closes all connections; what is under way fails with PEER_GONE. */
  close(): void {
    this.#pool.close();
  }

  /** On a kept connection, or else on a new one: the other side may have closed the first one meanwhile. */
  async #withLink<T>(target: Target, signal: AbortSignal, use: (link: PeerLink) => Promise<T>): Promise<T> {
    const kept = this.#pool.idle(target.key);
    if (kept !== undefined) {
      try {
        return await use(kept);
      } catch (error) {
        if (!hasCode(error, 'PEER_GONE') || signal.aborted) throw error;
        this.#pool.dropIdle(target.key);
      }
    }
    return use(await this.#dial(target, signal));
  }

  async #dial({ key, address, peerId }: Target, signal: AbortSignal): Promise<PeerLink> {
    const parsed = parseHostPort(address);
    if (parsed === undefined) throw new WindlassError('PEER_GONE', `not an address: ${address.slice(0, 200)}`);
    const waitMs = this.#connectTimeoutMs;
    const silent = () => new WindlassError('PEER_SILENT', `no connection to ${address} in ${waitMs} ms`);
    const bound = new Bound(signal, waitMs, silent);
    try {
      return await this.#pool.dial(key, () => this.#dialer.dial(parsed, peerId, bound.signal));
    } finally {
      bound.end();
    }
  }

  #exchange(target: Target, path: CallPath, body: Buffer, timeoutMs: number, signal: AbortSignal): Promise<Answer> {
    return this.#withLink(target, signal, async (link) => {
      const url = withQuery(`${API_PATH}${path}`, { timeout: Math.ceil(timeoutMs) });
      const answer = await exchange(link.connection, 'POST', url, await link.sign('POST', url, body), body, signal);
      if (answer.head.status === 401) throw denied(link);
      if (!(await link.accepts(answer.head, answer.body))) throw unproven(link);
      this.#pool.give(target.key, link);
      return answer;
    });
  }

  async #stream(
    link: PeerLink,
    target: Target,
    digest: Digest,
    opening: AbortSignal,
    options: { readonly offset: number; readonly replaces?: PeerId | undefined; readonly signal: AbortSignal },
  ): Promise<PeerStream> {
    const { offset, replaces, signal } = options;
    const url = withQuery(`${BLOBS_PATH}${digest}`, { offset, replaces });
    const headers = await link.sign('GET', url, undefined);
    const transfer = new Transfer('download', link.peerId, digest);
    const zone = this.#zoneOf(link.peerId);
    const onAbort = () => stream.leave(signal.reason);
    const onBound = () => stream.leave(opening.reason);
    const stream = new PieceStream({
      link,
      buffers: this.#buffers,
      isOneOfMany: () => this.#downloads.size > MANY_STREAMS,
      stallTimeoutMs: this.#stallTimeoutMs,
      onBytes: (count) => {
        transfer.bytes += count;
        this.#metrics.peerReceivedBytes.inc({ zone }, count);
      },
      onClosed: (reusable) => {
        signal.removeEventListener('abort', onAbort);
        this.#downloads.delete(transfer);
        this.#metrics.peerDownloads.set(this.#downloads.size);
        if (reusable) this.#pool.give(target.key, link);
      },
    });
    this.#downloads.add(transfer);
    this.#metrics.peerDownloads.set(this.#downloads.size);
    signal.addEventListener('abort', onAbort, { once: true });
    opening.addEventListener('abort', onBound, { once: true });
    try {
      link.connection.request(requestHead('GET', url, headers), undefined, stream);
      if (opening.aborted) onBound();
      await stream.opened;
    } finally {
      opening.removeEventListener('abort', onBound);
    }
    if (stream.head === undefined || !(await link.accepts(stream.head, undefined))) {
      const error = unproven(link);
      stream.leave(error);
      throw error;
    }
    transfer.sizeBytes = stream.sizeBytes;
    transfer.offset = offset;
    return stream;
  }
}

function targetOf(to: Member | Parent | string): Target {
  if (typeof to === 'string') return { key: `@${to}`, address: to, peerId: undefined };
  return { key: keyOf(to.peerId, to.dataAddress), address: to.dataAddress, peerId: to.peerId };
}

function keyOf(peerId: PeerId, dataAddress: string): string {
  return `${peerId}@${dataAddress}`;
}

function parseAnswer({ head, body }: Answer, target: Target): unknown {
  let value: unknown;
  try {
    value = body.length === 0 ? undefined : JSON.parse(body.toString());
  } catch (error) {
    throw new WindlassError('PEER_NONSENSE', `${target.address} answered what is no JSON`, { cause: error });
  }
  if (head.status === 200) return value;
  const said = typeof value === 'object' && value !== null && 'message' in value ? String(value.message) : '';
  throw errorOfStatus(head.status, target.address, said);
}

function denied(link: PeerLink): WindlassError {
  link.connection.destroy();
  return new WindlassError('PEER_DENIED', `${link.peerId} does not take this agent for a member`);
}

function unproven(link: PeerLink): WindlassError {
  link.connection.destroy();
  return new WindlassError('PEER_DENIED', `${link.peerId} did not prove to be a member`);
}
