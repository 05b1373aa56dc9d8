import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface';
import { type TLSComponents, tls } from '@libp2p/tls';
import { hasCode, WindlassError } from '../../errors.ts';
import type { ClusterSecrets } from '../cluster-secret.ts';
import type { PeerId } from '../member.ts';
import type { Door } from './door.ts';
import { exchangeProofs, type ProofRole } from './proof-exchange.ts';

export const MEMBERSHIP_PROTOCOL = '/windlass/tls/1';
const BOUND_MS = 5_000;

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
    const inside = (bounded: SecureConnectionOptions) => this.#tls.secureInbound(connection, bounded);
    return this.#secure(connection, 'listener', inside, options);
  }

  secureOutbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    const inside = (bounded: SecureConnectionOptions) => this.#tls.secureOutbound(connection, bounded);
    return this.#secure(connection, 'dialler', inside, options);
  }

  async #secure(
    connection: MessageStream,
    role: ProofRole,
    encrypt: (options: SecureConnectionOptions) => Promise<SecuredConnection>,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    const { secrets, self, door } = this.#options;
    const bound = AbortSignal.timeout(BOUND_MS);
    const signal = options.signal === undefined ? bound : AbortSignal.any([options.signal, bound]);
    const secured = await encrypt({ ...options, signal });
    const peer = secured.remotePeer.toString();
    const address = addressOf(connection);
    try {
      if (peer === self) {
        door.judge(connection, 'self', peer);
        door.note(address, { verdict: 'self', peerId: peer });
        throw new WindlassError('PEER_DENIED', 'is this agent itself');
      }
      await exchangeProofs(secured.connection, { secrets, role, self, peer, isFull: () => door.isFull, signal });
      door.judge(connection, 'member', peer);
      return secured;
    } catch (error) {
      if (peer !== self) {
        const busy = hasCode(error, 'PEER_BUSY');
        const why = error instanceof Error ? error.message : String(error);
        door.judge(connection, busy ? 'busy' : 'stranger', peer, why);
        // A dialler that is closed upon does not know why: the other's secret, or its end.
        if (busy || hasCode(error, 'PEER_DENIED', 'PEER_NONSENSE')) {
          door.note(address, { verdict: busy ? 'busy' : 'stranger', peerId: peer });
        }
      }
      secured.connection.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }
}

/** Of libp2p's raw connection, which is what an encrypter is given. */
function addressOf(connection: MessageStream): string {
  return 'remoteAddr' in connection ? String(connection.remoteAddr) : '';
}
