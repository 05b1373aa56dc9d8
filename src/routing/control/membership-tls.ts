import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface';
import { type TLSComponents, tls } from '@libp2p/tls';
import { hasCode, WindlassError } from '../../errors.ts';
import type { ClusterSecrets } from '../cluster-secret.ts';
import type { PeerId } from '../member.ts';
import type { Door } from './door.ts';
import { MEMBERSHIP_PROTOCOL } from './opening.ts';
import { exchangeProofs, type ProofRole } from './proof-exchange.ts';

/** Of the proofs; TLS itself is within libp2p's bound of the whole upgrade. */
const PROOFS_MS = 5_000;

export interface MembershipTlsOptions {
  readonly secrets: ClusterSecrets;
  readonly self: PeerId;
  readonly door: Door;
}

/**
 * TLS as libp2p has it, and inside it, before any protocol of libp2p, the proof of membership. A stranger is refused
 * here: it never gets as far as a muxer, and learns no more than that something speaks TLS.
 */
export function membershipTls(options: MembershipTlsOptions): (components: TLSComponents) => ConnectionEncrypter {
  return (components) => new MembershipTls(tls()(components), options);
}

class MembershipTls implements ConnectionEncrypter {
  readonly protocol = MEMBERSHIP_PROTOCOL;
  readonly #tls: ConnectionEncrypter;
  readonly #options: MembershipTlsOptions;

  constructor(inner: ConnectionEncrypter, options: MembershipTlsOptions) {
    this.#tls = inner;
    this.#options = options;
  }

  secureInbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#secure(connection, 'listener', () => this.#tls.secureInbound(connection, options), options);
  }

  secureOutbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#secure(connection, 'dialler', () => this.#tls.secureOutbound(connection, options), options);
  }

  async #secure(
    connection: MessageStream,
    role: ProofRole,
    encrypt: () => Promise<SecuredConnection>,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    const { secrets, self, door } = this.#options;
    door.judge(connection, 'unfinished');
    const secured = await encrypt();
    const bound = AbortSignal.timeout(PROOFS_MS);
    const signal = options.signal === undefined ? bound : AbortSignal.any([options.signal, bound]);
    const peer = secured.remotePeer.toString();
    try {
      if (peer === self) {
        door.judge(connection, 'self');
        door.note(addressOf(connection), { verdict: 'self', peerId: peer });
        throw new WindlassError('PEER_DENIED', 'is this agent itself');
      }
      await exchangeProofs(secured.connection, { secrets, role, self, peer, isFull: () => door.isFull, signal });
      door.judge(connection, 'member', { peer });
      return secured;
    } catch (error) {
      if (peer !== self) this.#failed(connection, role, peer, error);
      secured.connection.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  #failed(connection: MessageStream, role: ProofRole, peer: PeerId, error: unknown): void {
    const { door } = this.#options;
    const why = error instanceof Error ? error.message : String(error);
    const address = addressOf(connection);
    if (hasCode(error, 'PEER_BUSY')) {
      door.judge(connection, 'busy', { peer, why });
      door.note(address, { verdict: 'busy', peerId: peer });
    } else if (hasCode(error, 'PEER_DENIED', 'PEER_NONSENSE')) {
      door.judge(connection, 'stranger', { peer, why });
      door.note(address, { verdict: 'stranger', peerId: peer });
    } else {
      door.judge(connection, 'unfinished', { peer, why });
      // It does not say so, but it has seen our proof and did not like it.
      if (role === 'dialler' && hasCode(error, 'PEER_GONE')) door.note(address, { verdict: 'refused', peerId: peer });
    }
  }
}

/** Of libp2p's raw connection, which is what an encrypter is given. */
function addressOf(connection: MessageStream): string {
  return 'remoteAddr' in connection ? String(connection.remoteAddr) : '';
}
