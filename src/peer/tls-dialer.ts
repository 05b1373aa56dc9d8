import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { WindlassError } from '../errors.ts';
import { peerIdOfCertificate } from '../routing/certificate.ts';
import type { Identity } from '../routing/identity.ts';
import type { PeerId } from '../routing/member.ts';
import { type Membership, PROOF_HEADER } from './membership.ts';
import { PeerConnection } from './peer-connection.ts';
import { exchange } from './peer-exchange.ts';
import type { PeerDialer, PeerLink } from './peer-link.ts';
import type { ResponseHead } from './response-parser.ts';
import { tlsOptions } from './tls-options.ts';
import { HELLO_PATH } from './wire.ts';

const MAX_SESSIONS = 2_048;

/** Connects over TLS, and knows the other side by its certificate, or by a session that began with it. */
export class TlsDialer implements PeerDialer {
  readonly #membership: Membership;
  readonly #context: SecureContext;
  /** By the peer id that was proven when they began: a session that is taken up again shows no certificate. */
  readonly #sessions = new LRUCache<PeerId, Buffer>({ max: MAX_SESSIONS });

  constructor(identity: Identity, membership: Membership) {
    this.#membership = membership;
    this.#context = createSecureContext(tlsOptions(identity));
  }

  async dial(
    address: { readonly host: string; readonly port: number },
    expected: PeerId | undefined,
    signal: AbortSignal,
  ): Promise<PeerLink> {
    const session = expected === undefined ? undefined : this.#sessions.get(expected);
    const options = { secureContext: this.#context, rejectUnauthorized: false, servername: '' };
    const early: Buffer[] = [];
    let known: PeerId | undefined;
    const connection = await PeerConnection.open(
      address,
      { ...options, ...(session === undefined ? {} : { session }) },
      signal,
      (socket) => {
        socket.on('session', (ticket: Buffer) => {
          if (known === undefined) early[0] = ticket;
          else this.#sessions.set(known, ticket);
        });
      },
    );
    const socket = connection.socket as TLSSocket;
    const peerId = socket.isSessionReused() ? expected : peerIdOfCertificate(socket.getPeerX509Certificate());
    if (peerId === undefined || (expected !== undefined && peerId !== expected)) {
      connection.destroy();
      if (expected !== undefined) this.#sessions.delete(expected);
      throw new WindlassError(
        expected === undefined ? 'PEER_DENIED' : 'PEER_GONE',
        `${address.host}:${address.port} is ${peerId ?? 'nobody known'}${expected === undefined ? '' : `, not ${expected}`}`,
      );
    }
    known = peerId;
    for (const ticket of early) this.#sessions.set(peerId, ticket);
    const link = new TlsLink(connection, peerId, this.#membership);
    if (expected === undefined) await link.greet(signal);
    return link;
  }
}

class TlsLink implements PeerLink {
  readonly connection: PeerConnection;
  readonly peerId: PeerId;
  readonly #membership: Membership;
  /** It has proven to be a member on this connection. */
  #proven = false;

  constructor(connection: PeerConnection, peerId: PeerId, membership: Membership) {
    this.connection = connection;
    this.peerId = peerId;
    this.#membership = membership;
  }

  async sign(): Promise<string> {
    return `${PROOF_HEADER}: ${await this.#membership.prove(this.peerId)}\r\n`;
  }

  async accepts(head: ResponseHead): Promise<boolean> {
    this.#proven ||= await this.#membership.accepts(this.peerId, head.headers.get(PROOF_HEADER));
    return this.#proven;
  }

  /** Nothing is said to it before it has proven to be a member. */
  async greet(signal: AbortSignal): Promise<void> {
    const { head } = await exchange(this.connection, 'GET', HELLO_PATH, await this.sign(), undefined, signal);
    if (head.status === 204 && (await this.accepts(head))) return;
    this.connection.destroy();
    throw new WindlassError('PEER_DENIED', `${this.peerId} answered ${head.status} to a hello`);
  }
}
