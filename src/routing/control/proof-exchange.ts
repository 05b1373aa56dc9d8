import { randomBytes } from 'node:crypto';
import type { MessageStream } from '@libp2p/interface';
import { WindlassError } from '../../errors.ts';
import { type ClusterSecrets, MAX_SECRETS } from '../cluster-secret.ts';
import type { PeerId } from '../member.ts';
import { ExactReader } from './exact-reader.ts';

/**
 * Both sides of a connection prove that they know a cluster secret, inside TLS, which has proven both peer ids:
 *
 *   dialler                                     listener
 *      │ ◀────────── 32 random bytes ────────────── │
 *      │ ─────────── 32 random bytes ─────────────▶ │
 *      │ ── count, proofs (dialler → listener) ───▶ │ verifies; to a stranger it says no more, and closes
 *      │ ◀─ welcome, count, proofs (listener → d.) ─ │
 *      │ verifies                                   │
 *
 * The dialler proves first: who listens has an address and is sought, who dials may be anybody. What a stranger gets
 * by listening is a proof made out to the stranger's own peer id and random bytes: worth nothing anywhere else.
 */
export type ProofRole = 'dialler' | 'listener';

export interface ProofExchangeOptions {
  readonly secrets: ClusterSecrets;
  readonly role: ProofRole;
  readonly self: PeerId;
  readonly peer: PeerId;
  /** Of a listener: there is no room for one more; told to members only. */
  readonly isFull: () => boolean;
  readonly signal: AbortSignal;
}

const PURPOSE = 'windlass/libp2p/1';
const NONCE_BYTES = 32;
const PROOF_BYTES = 32;
const WELCOME = 0;
const FULL = 1;

/**
 * The stream can be used on when it resolves.
 * @throws PEER_DENIED: the other side is not a member. PEER_BUSY: it is one, and has (or we have) no room. PEER_GONE,
 *   PEER_NONSENSE; the signal's reason.
 */
export async function exchangeProofs(stream: MessageStream, options: ProofExchangeOptions): Promise<void> {
  const { secrets, role, self, peer, isFull, signal } = options;
  const reader = new ExactReader(stream);
  try {
    const mine = randomBytes(NONCE_BYTES);
    stream.send(mine);
    const theirs = await reader.read(NONCE_BYTES, signal);
    const nonces = role === 'dialler' ? [mine, theirs] : [theirs, mine];
    const context = (of: ProofRole) => Buffer.concat([Buffer.from(`${of}\0`), ...nonces]);
    const prove = async () => {
      const proofs = await secrets.proofs(PURPOSE, self, peer, context(role));
      return Buffer.concat([Buffer.from([proofs.length]), ...proofs]);
    };
    const check = async () => {
      const [count = 0] = await reader.read(1, signal);
      if (count < 1 || count > MAX_SECRETS) throw new WindlassError('PEER_NONSENSE', `${count} proofs`);
      const proofs = await reader.read(count * PROOF_BYTES, signal);
      const other: ProofRole = role === 'dialler' ? 'listener' : 'dialler';
      for (let at = 0; at < proofs.length; at += PROOF_BYTES) {
        const proof = proofs.subarray(at, at + PROOF_BYTES);
        if ((await secrets.verify(PURPOSE, peer, self, proof, context(other))) !== undefined) return;
      }
      throw new WindlassError('PEER_DENIED', 'does not know the cluster secret');
    };
    if (role === 'dialler') {
      stream.send(await prove());
      const [answer] = await reader.read(1, signal);
      if (answer !== WELCOME && answer !== FULL) throw new WindlassError('PEER_NONSENSE', 'neither welcome nor full');
      await check();
      if (answer === FULL) throw new WindlassError('PEER_BUSY', 'has no room for another connection');
      return;
    }
    await check();
    const full = isFull();
    stream.send(Buffer.concat([Buffer.from([full ? FULL : WELCOME]), await prove()]));
    if (!full) return;
    await stream.close({ signal });
    throw new WindlassError('PEER_BUSY', 'there is no room for another connection');
  } finally {
    reader.release();
  }
}
