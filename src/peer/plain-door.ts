import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ClusterSecrets } from '../routing/cluster-secret.ts';
import type { Identity } from '../routing/identity.ts';
import { verifySignature } from '../routing/identity-signature.ts';
import type { PeerId } from '../routing/member.ts';
import { type Door, type Guest, turnAway } from './door.ts';
import { decodeProofs, encodeProofs, PROOF_HEADER } from './membership.ts';
import {
  ANYBODY,
  answerMac,
  CHALLENGE_PATH,
  equalTexts,
  MAC_HEADER,
  NONCE_BYTES,
  NONCE_HEADER,
  PEER_HEADER,
  PROOF_PATH,
  PURPOSE,
  readBytes,
  requestMac,
  SIGNATURE_HEADER,
  sessionKey,
  transcript,
} from './plain-handshake.ts';
import type { Refusals } from './refusals.ts';

/** A connection: challenged, then proven. */
interface Session {
  nonces: Buffer;
  proven: { readonly peerId: PeerId; readonly key: Uint8Array } | undefined;
  counter: number;
}

/** The door of a server without TLS, as plain-handshake.ts has it. */
export class PlainDoor implements Door {
  readonly #identity: Identity;
  readonly #secrets: ClusterSecrets;
  readonly #refusals: Refusals;
  readonly #sessions = new WeakMap<Socket, Session>();

  constructor(identity: Identity, secrets: ClusterSecrets, refusals: Refusals) {
    this.#identity = identity;
    this.#secrets = secrets;
    this.#refusals = refusals;
  }

  async admit(request: IncomingMessage, response: ServerResponse): Promise<Guest | undefined> {
    const session = this.#sessions.get(request.socket);
    if (session === undefined && request.url === CHALLENGE_PATH && this.#challenge(request, response)) return undefined;
    if (session !== undefined && session.proven === undefined && request.url === PROOF_PATH) {
      if (await this.#prove(session, request, response)) return undefined;
    }
    if (session?.proven === undefined) {
      // One that was challenged is counted at its end.
      if (session === undefined) this.#refusals.stranger(request.socket.remoteAddress ?? 'gone', 'proof');
      turnAway(request, response);
      return undefined;
    }
    const { peerId, key } = session.proven;
    session.counter += 1;
    const { counter } = session;
    const { method = '', url = '', headers } = request;
    const given = String(headers[MAC_HEADER] ?? '');
    return {
      peerId,
      hasSent: (body) => equalTexts(given, requestMac(key, counter, method, url, body)),
      seal: (status, body) => ({ [MAC_HEADER]: answerMac(key, counter, status, body) }),
    };
  }

  #challenge(request: IncomingMessage, response: ServerResponse): boolean {
    const theirs = readBytes(request.headers[NONCE_HEADER], NONCE_BYTES);
    if (theirs === undefined) return false;
    const ours = randomBytes(NONCE_BYTES);
    const { socket } = request;
    const session: Session = { nonces: Buffer.concat([theirs, ours]), proven: undefined, counter: 0 };
    this.#sessions.set(socket, session);
    const address = socket.remoteAddress ?? 'gone';
    socket.once('close', () => {
      if (session.proven === undefined) this.#refusals.stranger(address, 'proof');
    });
    response.writeHead(204, { [NONCE_HEADER]: ours.toString('base64url') }).end();
    return true;
  }

  async #prove(session: Session, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { headers } = request;
    const peerId = String(headers[PEER_HEADER] ?? '');
    const signature = readBytes(headers[SIGNATURE_HEADER], 64);
    const { nonces } = session;
    if (signature === undefined || !verifySignature(peerId, transcript('client', nonces), signature)) return false;
    const proofs = String(headers[PROOF_HEADER] ?? '');
    for (const proof of decodeProofs(proofs)) {
      const secret = await this.#secrets.verify(PURPOSE, peerId, ANYBODY, proof, transcript('client', nonces));
      if (secret === undefined) continue;
      const self = this.#identity.peerId;
      const key = await sessionKey(this.#secrets, secret, peerId, self, nonces);
      const ownProof = (await this.#secrets.proofs(PURPOSE, self, peerId, transcript('server', nonces)))[secret];
      if (key === undefined || ownProof === undefined) return false;
      session.proven = { peerId, key };
      const signed = this.#identity.sign(transcript('server', nonces, peerId));
      response
        .writeHead(204, {
          [PEER_HEADER]: self,
          [PROOF_HEADER]: encodeProofs([ownProof]),
          [SIGNATURE_HEADER]: Buffer.from(signed).toString('base64url'),
        })
        .end();
      return true;
    }
    return false;
  }
}
