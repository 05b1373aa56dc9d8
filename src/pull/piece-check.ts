import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import { PIECE_BYTES, type Piece } from './piece.ts';
import type { Swarm } from './swarm.ts';

/** wrong: no good peer sends that. size: it does not fit the blob's size. shunned: vouched for by a liar. */
export interface PieceFault {
  readonly kind: 'wrong' | 'size' | 'shunned';
  readonly error: WindlassError;
}

/** Looks at the pieces of one stream, in order. */
export class PieceCheck {
  readonly #swarm: Swarm;
  readonly #digest: Digest;
  /** Whose stream it is. */
  readonly #parent: PeerId;
  /** The next one's. */
  #index: number;
  /** A piece shorter than others was the last. */
  #ended = false;

  constructor(swarm: Swarm, digest: Digest, parent: PeerId, index: number) {
    this.#swarm = swarm;
    this.#parent = parent;
    this.#digest = digest;
    this.#index = index;
  }

  /** Where the next piece begins. */
  get position(): number {
    return this.#index * PIECE_BYTES;
  }

  /** It was taken: the next one is due. */
  took({ bytes }: Piece): void {
    this.#index += 1;
    this.#ended = bytes.length < PIECE_BYTES;
  }

  /** @param sizeBytes of the blob, where it is known. */
  async faultOf(piece: Piece, sizeBytes: number | undefined): Promise<PieceFault | undefined> {
    const { proofs, offenders } = this.#swarm;
    const { index, bytes, proof } = piece;
    if (index !== this.#index) return fault('wrong', `piece ${index} came where ${this.#index} was due`);
    if (this.#ended || bytes.length === 0) return fault('size', `piece ${index} came after the end`);
    const whole = Math.min(PIECE_BYTES, (sizeBytes ?? Number.POSITIVE_INFINITY) - this.position);
    if (bytes.length > whole || (sizeBytes !== undefined && bytes.length < whole)) {
      return fault('size', `piece ${index} has ${bytes.length} bytes of ${whole}`);
    }
    if (!(await proofs.isRight(this.#digest, index, bytes, proof))) {
      return fault('wrong', `piece ${index} does not have its hash, or nobody vouches for it`);
    }
    if (!(await this.#swarm.knows(proof.signer, this.#parent))) {
      return fault('wrong', `piece ${index} is signed by a stranger`);
    }
    if (offenders.isLiar(proof.signer)) {
      return fault('shunned', `passes on what ${proof.signer} vouches for, who is left out`);
    }
    return undefined;
  }
}

function fault(kind: PieceFault['kind'], what: string): PieceFault {
  return { kind, error: new WindlassError(kind === 'shunned' ? 'PEER_FAILED' : 'PEER_NONSENSE', what) };
}
