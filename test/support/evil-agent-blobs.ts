import { blake3 } from '@napi-rs/blake-hash';
import type { Digest } from '../../src/oci/digest.ts';
import { endFrame, PIECES_TYPE, pathFrame, pieceHead, waitingFrame } from '../../src/peer/frames.ts';
import { SIZE_HEADER } from '../../src/peer/wire.ts';
import { PIECE_BYTES, type PieceProof } from '../../src/pull/piece.ts';
import type { Identity } from '../../src/routing/identity.ts';
import type { EvilRequest } from './evil-agent-server.ts';

/** What a lie is about: the right bytes, which the liar may well have. */
export interface Truth {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** Answers GET of a blob. */
export type BlobLie = (offset: number, request: EvilRequest, truth: Truth, identity: Identity) => unknown;

export interface FalseBlob {
  /** Of which there is nothing to hide: hashed and signed by the liar itself. */
  readonly bytes: Buffer;
  /** As its header says. */
  readonly sizeBytes: number;
  /** Proofs of somebody else, instead of its own. */
  readonly proofs?: readonly PieceProof[];
  /** How it ends: as an honest stream, with a broken connection, or never. */
  readonly ends?: 'end' | 'cut';
}

function open({ response, proof }: EvilRequest, sizeBytes: number): void {
  response.writeHead(200, { 'content-type': PIECES_TYPE, [SIZE_HEADER]: sizeBytes, ...proof });
  response.write(pathFrame([]));
}

/** Sends these bytes as an honest holder would the right ones. */
async function send(
  offset: number,
  request: EvilRequest,
  { digest }: Truth,
  identity: Identity,
  { bytes, sizeBytes, proofs, ends = 'end' }: FalseBlob,
): Promise<void> {
  const { response } = request;
  open(request, sizeBytes);
  for (let index = Math.floor(offset / PIECE_BYTES); index * PIECE_BYTES < bytes.length; index += 1) {
    const piece = bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
    const proof = proofs?.[index] ?? vouch(identity, digest, index, piece);
    response.write(pieceHead({ index, length: piece.length, written: bytes.length, proof }));
    if (!response.write(piece)) await drained(request);
    if (response.destroyed) return;
  }
  if (ends === 'end') response.end(endFrame);
  else response.destroy();
}

function vouch(identity: Identity, digest: Digest, index: number, bytes: Uint8Array): PieceProof {
  const hash = blake3(bytes);
  const message = Buffer.concat([Buffer.from(`windlass-piece/2\0${digest}\0${index}\0`), hash]);
  return { hash, signer: identity.peerId, signature: identity.sign(message) };
}

function drained({ response }: EvilRequest): Promise<void> {
  return new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
}

/** One bit of each piece is another. */
function flipped(bytes: Buffer): Buffer {
  const wrong = Buffer.from(bytes);
  for (let at = 7; at < wrong.length; at += PIECE_BYTES) wrong[at] = (wrong[at] ?? 0) ^ 1;
  return wrong;
}

/** A byte each second, of what would be the right answer, for as long as somebody listens. */
function trickle({ response }: EvilRequest, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => response.write(bytes.subarray(at, ++at)), 1_000);
  response.once('close', () => clearInterval(timer));
}

function always({ response }: EvilRequest, frame: Buffer, everyMs: number): void {
  const timer = setInterval(() => response.write(frame), everyMs);
  response.once('close', () => clearInterval(timer));
}

/** Lies of one who says that it holds the blob. */
export const LIES = {
  wrongBytes: (offset, request, truth, identity) =>
    send(offset, request, truth, identity, { bytes: flipped(truth.bytes), sizeBytes: truth.bytes.length }),
  shortBytes: (offset, request, truth, identity) =>
    send(offset, request, truth, identity, {
      bytes: truth.bytes.subarray(0, PIECE_BYTES),
      sizeBytes: truth.bytes.length,
    }),
  brokenOff: (offset, request, truth, identity) =>
    send(offset, request, truth, identity, {
      bytes: truth.bytes.subarray(0, PIECE_BYTES),
      sizeBytes: truth.bytes.length,
      ends: 'cut',
    }),
  tooLong: (offset, request, truth, identity) => {
    const bytes = Buffer.concat([truth.bytes, Buffer.from('more')]);
    return send(offset, request, truth, identity, { bytes, sizeBytes: bytes.length });
  },
  tooShort: (offset, request, truth, identity) => {
    const bytes = truth.bytes.subarray(0, -9);
    return send(offset, request, truth, identity, { bytes, sizeBytes: bytes.length });
  },
  noFrames: (_, request, { bytes }) => {
    open(request, bytes.length);
    request.response.end(Buffer.alloc(100_000, 0xee));
  },
  notThere: (_, { response, proof }) => {
    response.writeHead(404, { ...proof, 'content-length': 0 }).end();
  },
  saysNothing: () => {},
  oneByteASecond: (_, request, { digest, bytes }, identity) => {
    open(request, bytes.length);
    const piece = bytes.subarray(0, PIECE_BYTES);
    const proof = vouch(identity, digest, 0, piece);
    trickle(
      request,
      Buffer.concat([pieceHead({ index: 0, length: piece.length, written: bytes.length, proof }), piece]),
    );
  },
  waitsForEver: (_, request, { bytes }) => {
    open(request, bytes.length);
    always(request, waitingFrame(0), 400);
  },
} satisfies Readonly<Record<string, BlobLie>>;
