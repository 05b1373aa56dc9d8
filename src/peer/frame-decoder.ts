import { WindlassError } from '../errors.ts';
import { HASH_BYTES, PIECE_BYTES, type Piece } from '../pull/piece.ts';
import type { PeerId } from '../routing/member.ts';
import { type Failure, FRAME, MAX_TEXT_BYTES, PIECE_HEAD_BYTES, SIGNATURE_BYTES } from './frames.ts';
import type { Input } from './input.ts';

export type Frame =
  | { readonly type: 'piece'; readonly piece: Piece }
  | { readonly type: 'waiting'; readonly written: number }
  | { readonly type: 'path'; readonly path: readonly PeerId[] }
  | { readonly type: 'moved' }
  | { readonly type: 'strained' }
  | { readonly type: 'end' }
  | { readonly type: 'fail'; readonly failure: Failure };

/** base58 and base36, as libp2p writes peer ids. */
const PEER_ID = /^[A-Za-z0-9]{1,128}$/;
const CODE = /^[A-Z_]{1,64}$/;

/**
 * Takes the frames of frames.ts apart, whatever way their bytes were split.
 *
 *            type known            head whole                    filled
 *   head ───────────▶ head ───┬──────────────▶ signer ─▶ body ────────▶ head     piece: head, signer's name, bytes
 *                             ├──────────────▶ body ──────────────────▶ head     path, fail: head, text
 *                             └─────────────────────────────────────────▶ head   waiting, moved, end
 *   any ── nonsense ─▶ PEER_NONSENSE; not to be used any more
 */
export class FrameDecoder {
  readonly #takeBuffer: (lengthBytes: number) => Buffer;
  readonly #head = Buffer.alloc(PIECE_HEAD_BYTES + 255);
  #state: 'head' | 'signer' | 'body' = 'head';
  #filled = 0;
  /** Of the head, signer included; 0: the type is not known yet. */
  #headBytes = 0;
  #body: Buffer | undefined;
  #bodyFilled = 0;
  /** Bytes taken in all: whoever watches for silence looks at it. */
  taken = 0;
  #pieceBytes = 0;

  /** Bytes of pieces taken in all, those of the piece under way included. */
  get pieceBytes(): number {
    return this.#pieceBytes;
  }

  /** @param takeBuffer called once a piece: a buffer of so many bytes, or more, that belongs to the piece from then on. */
  constructor(takeBuffer: (lengthBytes: number) => Buffer = Buffer.allocUnsafeSlow) {
    this.#takeBuffer = takeBuffer;
  }

  /** Bytes that the frame still lacks, as far as is known. */
  get missing(): number {
    return this.#body === undefined ? 0 : this.#body.length - this.#bodyFilled;
  }

  /** Between two frames: the only place where a stream may end. */
  get idle(): boolean {
    return this.#state === 'head' && this.#filled === 0;
  }

  /**
   * Takes bytes up to the end of the next frame, or all.
   * @returns the frame, if it is whole. A piece's bytes are its buffer's first ones.
   * @throws PEER_NONSENSE
   */
  next(input: Input): Frame | undefined {
    while (input.at < input.end) {
      if (this.#state === 'body') {
        const frame = this.#fillBody(input);
        if (frame !== undefined) return frame;
        continue;
      }
      if (this.#headBytes === 0) this.#headBytes = headBytesOf(input.bytes[input.at] ?? 0);
      const count = this.#copy(input, this.#head, this.#filled, this.#headBytes);
      this.#filled += count;
      if (this.#filled < this.#headBytes) continue;
      const frame = this.#headWhole();
      if (frame !== undefined) return frame;
    }
    return undefined;
  }

  #copy(input: Input, to: Buffer, from: number, end: number): number {
    const count = Math.min(end - from, input.end - input.at);
    to.set(input.bytes.subarray(input.at, input.at + count), from);
    input.at += count;
    this.taken += count;
    return count;
  }

  #headWhole(): Frame | undefined {
    const head = this.#head;
    const type = head[0];
    if (type === FRAME.piece && this.#state === 'head') {
      const length = head.readUInt32BE(5);
      if (length === 0 || length > PIECE_BYTES) throw nonsense(`a piece of ${length} bytes`);
      const signerBytes = head[PIECE_HEAD_BYTES - 1] ?? 0;
      if (signerBytes === 0 || signerBytes > 128) throw nonsense(`a signer of ${signerBytes} bytes`);
      this.#state = 'signer';
      this.#headBytes += signerBytes;
      return undefined;
    }
    if (type === FRAME.piece) {
      const length = head.readUInt32BE(5);
      this.#body = this.#takeBuffer(length).subarray(0, length);
    } else if (type === FRAME.path || type === FRAME.fail) {
      const length = head.readUInt32BE(1);
      if (length > MAX_TEXT_BYTES) throw nonsense(`a frame of type ${type} and ${length} bytes`);
      this.#body = Buffer.allocUnsafeSlow(length);
    } else {
      const frame = this.#smallFrame();
      this.#reset();
      return frame;
    }
    this.#state = 'body';
    this.#bodyFilled = 0;
    return this.#body.length === 0 ? this.#bodyWhole(this.#body) : undefined;
  }

  #smallFrame(): Frame {
    if (this.#head[0] === FRAME.waiting) return { type: 'waiting', written: safeNumber(this.#head.readBigUInt64BE(1)) };
    if (this.#head[0] === FRAME.strained) return { type: 'strained' };
    return this.#head[0] === FRAME.moved ? { type: 'moved' } : { type: 'end' };
  }

  #fillBody(input: Input): Frame | undefined {
    const body = this.#body;
    if (body === undefined) throw nonsense('a frame without a body');
    const count = this.#copy(input, body, this.#bodyFilled, body.length);
    this.#bodyFilled += count;
    if (this.#head[0] === FRAME.piece) this.#pieceBytes += count;
    return this.#bodyFilled === body.length ? this.#bodyWhole(body) : undefined;
  }

  #bodyWhole(body: Buffer): Frame {
    const type = this.#head[0];
    const frame: Frame =
      type === FRAME.piece
        ? { type: 'piece', piece: this.#piece(body) }
        : type === FRAME.path
          ? { type: 'path', path: readPath(body) }
          : { type: 'fail', failure: readFailure(body) };
    this.#reset();
    return frame;
  }

  #piece(bytes: Buffer): Piece {
    const head = this.#head;
    const hashAt = 1 + 4 + 4 + 8;
    const signatureAt = hashAt + HASH_BYTES;
    return {
      index: head.readUInt32BE(1),
      bytes,
      written: safeNumber(head.readBigUInt64BE(9)),
      proof: {
        hash: new Uint8Array(head.subarray(hashAt, signatureAt)),
        signature: new Uint8Array(head.subarray(signatureAt, signatureAt + SIGNATURE_BYTES)),
        signer: readPeerId(head.toString('latin1', PIECE_HEAD_BYTES, this.#headBytes)),
      },
    };
  }

  #reset(): void {
    this.#state = 'head';
    this.#filled = 0;
    this.#headBytes = 0;
    this.#body = undefined;
  }
}

function headBytesOf(type: number): number {
  if (type === FRAME.piece) return PIECE_HEAD_BYTES;
  if (type === FRAME.waiting) return 9;
  if (type === FRAME.path || type === FRAME.fail) return 5;
  if (type === FRAME.moved || type === FRAME.strained || type === FRAME.end) return 1;
  throw nonsense(`a frame of type ${type}`);
}

function readPath(text: Buffer): PeerId[] {
  const path: PeerId[] = [];
  for (let at = 0; at < text.length; ) {
    const end = at + 1 + (text[at] ?? 0);
    if (end > text.length) throw nonsense('a path that is cut off');
    path.push(readPeerId(text.toString('latin1', at + 1, end)));
    at = end;
  }
  return path;
}

function readPeerId(text: string): PeerId {
  if (!PEER_ID.test(text)) throw nonsense('a name that is no peer id');
  return text;
}

function readFailure(text: Buffer): Failure {
  let value: unknown;
  try {
    value = JSON.parse(text.toString());
  } catch {
    throw nonsense('a failure that is no JSON');
  }
  const { code, message, upstreamStatus } = (typeof value === 'object' && value !== null ? value : {}) as Failure;
  if (typeof code !== 'string' || !CODE.test(code) || typeof message !== 'string') throw nonsense('not a failure');
  return {
    code,
    message: message.slice(0, 1000),
    ...(Number.isInteger(upstreamStatus) ? { upstreamStatus } : {}),
  };
}

function safeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw nonsense(`a length of ${value} bytes`);
  return Number(value);
}

function nonsense(what: string): WindlassError {
  return new WindlassError('PEER_NONSENSE', `the other agent sent ${what}`);
}
