import { HASH_BYTES, type PieceProof } from '../pull/piece.ts';
import type { PeerId } from '../routing/member.ts';

/*
 * A blob between agents: `application/vnd.windlass.pieces.2`, a row of frames. Numbers are big-endian.
 *
 *   type      then
 *   1 piece   index u32 · length u32 (1 to PIECE_BYTES) · written u64 · hash 32 bytes · signature 64 bytes ·
 *             signer u8 + text · the bytes
 *   2 waiting written u64
 *   3 path    length u32 · peer ids, each u8 + text, from the writer down to the sender
 *   4 moved
 *   5 end     the blob has ended, or what was asked of it
 *   6 fail    length u32 · JSON { code, message, upstreamStatus? }
 *   7 strained
 *
 * The first frame is always a path; the last always `end` or `fail`: what ends without one was broken off. A piece
 * can never be longer than its buffer, nor a path or a failure than MAX_TEXT_BYTES: a decoder's memory is bounded.
 */
export const PIECES_TYPE = 'application/vnd.windlass.pieces.2';

export const FRAME = { piece: 1, waiting: 2, path: 3, moved: 4, end: 5, fail: 6, strained: 7 } as const;

/** 10,000 peer ids, and some. */
export const MAX_TEXT_BYTES = 640 * 1024;
export const SIGNATURE_BYTES = 64;
/** Of a piece, from the type up to the length of the signer's name. */
export const PIECE_HEAD_BYTES = 1 + 4 + 4 + 8 + HASH_BYTES + SIGNATURE_BYTES + 1;
const MAX_PEER_ID_BYTES = 128;

/** What a sender's own ingest failed with. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly upstreamStatus?: number | undefined;
}

/** All of a piece's frame but the bytes, which follow it. @throws RangeError for what does not fit its fields. */
export function pieceHead(piece: {
  readonly index: number;
  readonly length: number;
  readonly written: number;
  readonly proof: PieceProof;
}): Buffer {
  const { hash, signature, signer } = piece.proof;
  if (hash.length !== HASH_BYTES || signature.length !== SIGNATURE_BYTES) {
    throw new RangeError(`a hash of ${hash.length} bytes, a signature of ${signature.length}`);
  }
  const name = peerIdBytes(signer);
  const head = Buffer.allocUnsafe(PIECE_HEAD_BYTES - 1 + name.length);
  let at = head.writeUInt8(FRAME.piece, 0);
  at = head.writeUInt32BE(piece.index, at);
  at = head.writeUInt32BE(piece.length, at);
  at = head.writeBigUInt64BE(BigInt(piece.written), at);
  head.set(hash, at);
  head.set(signature, at + HASH_BYTES);
  head.set(name, at + HASH_BYTES + SIGNATURE_BYTES);
  return head;
}

export function waitingFrame(written: number): Buffer {
  const frame = Buffer.allocUnsafe(9);
  frame.writeBigUInt64BE(BigInt(written), frame.writeUInt8(FRAME.waiting, 0));
  return frame;
}

/** @throws RangeError for a path that no decoder would take. */
export function pathFrame(path: readonly PeerId[]): Buffer {
  return textFrame(FRAME.path, Buffer.concat(path.map(peerIdBytes)));
}

export function failFrame({ code, message, upstreamStatus }: Failure): Buffer {
  return textFrame(FRAME.fail, Buffer.from(JSON.stringify({ code, message: message.slice(0, 1000), upstreamStatus })));
}

export const movedFrame: Buffer = Buffer.from([FRAME.moved]);
export const strainedFrame: Buffer = Buffer.from([FRAME.strained]);
export const endFrame: Buffer = Buffer.from([FRAME.end]);

function textFrame(type: number, text: Buffer): Buffer {
  if (text.length > MAX_TEXT_BYTES) throw new RangeError(`a frame of ${text.length} bytes`);
  const frame = Buffer.allocUnsafe(5 + text.length);
  frame.writeUInt32BE(text.length, frame.writeUInt8(type, 0));
  frame.set(text, 5);
  return frame;
}

function peerIdBytes(peerId: PeerId): Buffer {
  const bytes = Buffer.from(peerId, 'latin1');
  if (bytes.length === 0 || bytes.length > MAX_PEER_ID_BYTES) throw new RangeError(`not a peer id: ${peerId}`);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
