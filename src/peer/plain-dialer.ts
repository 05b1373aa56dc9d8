import { randomBytes } from 'node:crypto';
import { WindlassError } from '../errors.ts';
import type { ClusterSecrets } from '../routing/cluster-secret.ts';
import type { Identity } from '../routing/identity.ts';
import { verifySignature } from '../routing/identity-signature.ts';
import type { PeerId } from '../routing/member.ts';
import { decodeProofs, encodeProofs, PROOF_HEADER } from './membership.ts';
import { PeerConnection } from './peer-connection.ts';
import { type Answer, exchange } from './peer-exchange.ts';
import type { PeerDialer, PeerLink } from './peer-link.ts';
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
import type { ResponseHead } from './response-parser.ts';

/** Connects without TLS, and proves both ends as plain-handshake.ts has it, before anything else is said. */
export class PlainDialer implements PeerDialer {
  readonly #identity: Identity;
  readonly #secrets: ClusterSecrets;

  constructor(identity: Identity, secrets: ClusterSecrets) {
    this.#identity = identity;
    this.#secrets = secrets;
  }

  async dial(
    address: { readonly host: string; readonly port: number },
    expected: PeerId | undefined,
    signal: AbortSignal,
  ): Promise<PeerLink> {
    const connection = await PeerConnection.open(address, undefined, signal);
    try {
      const link = await this.#handshake(connection, expected, signal);
      connection.used = false;
      return link;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async #handshake(connection: PeerConnection, expected: PeerId | undefined, signal: AbortSignal): Promise<PeerLink> {
    const ask = (path: string, headers: Record<string, string>) => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      return exchange(connection, 'GET', path, lines.join(''), undefined, signal);
    };
    const ours = randomBytes(NONCE_BYTES);
    const challenge = await ask(CHALLENGE_PATH, { [NONCE_HEADER]: ours.toString('base64url') });
    const theirs = readBytes(challenge.head.headers.get(NONCE_HEADER), NONCE_BYTES);
    if (challenge.head.status !== 204 || theirs === undefined) throw denied('it gave no challenge');
    const nonces = Buffer.concat([ours, theirs]);
    const self = this.#identity.peerId;
    const proofs = await this.#secrets.proofs(PURPOSE, self, ANYBODY, transcript('client', nonces));
    const answer = await ask(PROOF_PATH, {
      [PEER_HEADER]: self,
      [PROOF_HEADER]: encodeProofs(proofs),
      [SIGNATURE_HEADER]: Buffer.from(this.#identity.sign(transcript('client', nonces))).toString('base64url'),
    });
    const { peerId, secret } = await this.#verify(answer, nonces);
    if (expected !== undefined && peerId !== expected) {
      throw new WindlassError('PEER_GONE', `the agent there is ${peerId}, not ${expected}`);
    }
    const key = await sessionKey(this.#secrets, secret, self, peerId, nonces);
    if (key === undefined) throw denied('the secrets have just changed');
    return new PlainLink(connection, peerId, key);
  }

  async #verify({ head }: Answer, nonces: Buffer): Promise<{ peerId: PeerId; secret: number }> {
    if (head.status !== 204) throw denied(`it answered ${head.status} to our proof`);
    const self = this.#identity.peerId;
    const peerId = head.headers.get(PEER_HEADER) ?? '';
    const signature = readBytes(head.headers.get(SIGNATURE_HEADER), 64);
    const [proof = Buffer.alloc(0)] = decodeProofs(head.headers.get(PROOF_HEADER));
    const signed = signature !== undefined && verifySignature(peerId, transcript('server', nonces, self), signature);
    const secret = await this.#secrets.verify(PURPOSE, peerId, self, proof, transcript('server', nonces));
    if (!signed || secret === undefined) throw denied('it did not prove to be a member');
    return { peerId, secret };
  }
}

class PlainLink implements PeerLink {
  readonly connection: PeerConnection;
  readonly peerId: PeerId;
  readonly #key: Uint8Array;
  #counter = 0;

  constructor(connection: PeerConnection, peerId: PeerId, key: Uint8Array) {
    this.connection = connection;
    this.peerId = peerId;
    this.#key = key;
  }

  async sign(method: string, path: string, body: Uint8Array = new Uint8Array()): Promise<string> {
    this.#counter += 1;
    return `${MAC_HEADER}: ${requestMac(this.#key, this.#counter, method, path, body)}\r\n`;
  }

  async accepts(head: ResponseHead, body: Uint8Array | undefined): Promise<boolean> {
    const given = head.headers.get(MAC_HEADER) ?? '';
    return equalTexts(given, answerMac(this.#key, this.#counter, head.status, body));
  }
}

function denied(why: string): WindlassError {
  return new WindlassError('PEER_DENIED', `the other agent is none that we know: ${why}`);
}
