import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { peerIdOfCertificate } from '../routing/certificate.ts';
import type { PeerId } from '../routing/member.ts';
import { type Door, type Guest, turnAway } from './door.ts';
import { type Membership, PROOF_HEADER } from './membership.ts';
import type { Refusals } from './refusals.ts';

/** The certificate says who asks; a header proves membership; the answer proves ours. */
export class TlsDoor implements Door {
  readonly #membership: Membership;
  readonly #refusals: Refusals;
  /** Null: no certificate that we know how to read. */
  readonly #peers = new WeakMap<Socket, PeerId | null>();

  constructor(membership: Membership, refusals: Refusals) {
    this.#membership = membership;
    this.#refusals = refusals;
  }

  async admit(request: IncomingMessage, response: ServerResponse): Promise<Guest | undefined> {
    const { socket } = request;
    const address = socket.remoteAddress ?? 'gone';
    const peerId = this.#peerOf(socket);
    if (peerId === null) {
      this.#refusals.stranger(address, 'certificate');
      turnAway(request, response);
      return undefined;
    }
    const header = request.headers[PROOF_HEADER];
    if (!(await this.#membership.accepts(peerId, typeof header === 'string' ? header : undefined))) {
      this.#refusals.stranger(address, 'proof', { peerId });
      turnAway(request, response);
      return undefined;
    }
    const headers = { [PROOF_HEADER]: await this.#membership.prove(peerId) };
    return { peerId, hasSent: () => true, seal: () => headers };
  }

  #peerOf(socket: Socket): PeerId | null {
    let peerId = this.#peers.get(socket);
    if (peerId === undefined) {
      peerId = (socket instanceof TLSSocket ? peerIdOfCertificate(socket.getPeerX509Certificate()) : undefined) ?? null;
      this.#peers.set(socket, peerId);
    }
    return peerId;
  }
}
