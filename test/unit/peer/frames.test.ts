import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasCode } from '../../../src/errors.ts';
import { type Frame, FrameDecoder } from '../../../src/peer/frame-decoder.ts';
import {
  endFrame,
  failFrame,
  movedFrame,
  pathFrame,
  pieceHead,
  strainedFrame,
  waitingFrame,
} from '../../../src/peer/frames.ts';
import { ResponseParser } from '../../../src/peer/response-parser.ts';
import { PIECE_BYTES } from '../../../src/pull/piece.ts';

const peerId = fc.stringMatching(/^[A-Za-z0-9]{1,60}$/);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc
    .record({
      index: fc.nat({ max: 0xffffffff }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
      written: count,
      proof: fc.record({ hash: bytes(32), signature: bytes(64), signer: peerId }),
    })
    .map((piece) => ({ type: 'piece' as const, piece })),
  count.map((written) => ({ type: 'waiting' as const, written })),
  fc.array(peerId, { maxLength: 50 }).map((path) => ({ type: 'path' as const, path })),
  fc.constant({ type: 'moved' as const }),
  fc.constant({ type: 'strained' as const }),
  fc.constant({ type: 'end' as const }),
  fc
    .record({ code: fc.stringMatching(/^[A-Z_]{1,64}$/), message: fc.string({ maxLength: 1000 }) })
    .map((failure) => ({ type: 'fail' as const, failure })),
);

function encode(one: Frame): Buffer {
  if (one.type === 'piece') {
    return Buffer.concat([pieceHead({ ...one.piece, length: one.piece.bytes.length }), one.piece.bytes]);
  }
  if (one.type === 'waiting') return waitingFrame(one.written);
  if (one.type === 'path') return pathFrame(one.path);
  if (one.type === 'fail') return failFrame(one.failure);
  if (one.type === 'strained') return strainedFrame;
  return one.type === 'moved' ? movedFrame : endFrame;
}

/** As plain values: a piece's bytes are compared by content. */
function plain(one: Frame): unknown {
  if (one.type !== 'piece') return one;
  const { piece } = one;
  const hex = (part: Uint8Array) => Buffer.from(part).toString('hex');
  const proof = { ...piece.proof, hash: hex(piece.proof.hash), signature: hex(piece.proof.signature) };
  return { ...piece, bytes: hex(piece.bytes), proof };
}

/** Feeds the parts one after the other, each in a buffer that is overwritten afterwards. */
function decode(parts: readonly Uint8Array[], takeBuffer?: () => Buffer): { frames: unknown[]; decoder: FrameDecoder } {
  const decoder = new FrameDecoder(takeBuffer);
  const frames: unknown[] = [];
  for (const part of parts) {
    const own = Uint8Array.from(part);
    const input = { bytes: own, at: 0, end: own.length };
    while (input.at < input.end) {
      const found = decoder.next(input);
      if (found !== undefined) frames.push(plain(found));
    }
    own.fill(0xee);
  }
  return { frames, decoder };
}

function split(all: Uint8Array, at: readonly number[]): Uint8Array[] {
  const cuts = [...new Set(at.map((cut) => cut % (all.length + 1)))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => all.subarray(from, cuts[i] ?? all.length));
}

describe('frames', () => {
  it('tell how many bytes of pieces came, those of the piece under way included', () => {
    const proof = { hash: Buffer.alloc(32), signature: Buffer.alloc(64), signer: 'somebody' };
    const encoded = encode({ type: 'piece', piece: { index: 0, bytes: Buffer.alloc(1000), written: 5000, proof } });
    const { decoder } = decode([encoded, waitingFrame(5000), encoded.subarray(0, encoded.length - 300)]);
    expect(decoder.pieceBytes).toBe(1700);
  });

  it('come out as they went in, whatever way their bytes are split', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 30 }), (frames, cuts) => {
        const { frames: got, decoder } = decode(split(Buffer.concat(frames.map(encode)), cuts));
        expect(got).toEqual(frames.map(plain));
        expect(decoder.idle).toBe(true);
      }),
    );
  });

  it('come out byte by byte as well', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 3 }), (frames) => {
        const all = Buffer.concat(frames.map(encode));
        expect(decode([...all].map((byte) => Uint8Array.of(byte))).frames).toEqual(frames.map(plain));
      }),
      { numRuns: 20 },
    );
  });

  it('that are junk are refused, or wait for more; nothing else is thrown, and little is kept', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 2 }), fc.uint8Array({ maxLength: 400 }), (frames, junk) => {
        let buffers = 0;
        try {
          decode([...frames.map(encode), junk], () => {
            buffers += 1;
            return Buffer.alloc(PIECE_BYTES);
          });
        } catch (error) {
          expect(hasCode(error, 'PEER_NONSENSE')).toBe(true);
        }
        // One a piece that is named: none is that long without its bytes.
        expect(buffers).toBeLessThanOrEqual(frames.length + 4);
      }),
    );
  });

  it('of which one byte was changed never bring more than was sent', () => {
    fc.assert(
      fc.property(frame, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, by) => {
        const changed = encode(one);
        const index = at % changed.length;
        changed[index] = (changed[index] ?? 0) ^ by;
        try {
          const { frames } = decode([changed]);
          expect(frames.length).toBeLessThanOrEqual(changed.length);
        } catch (error) {
          expect(hasCode(error, 'PEER_NONSENSE')).toBe(true);
        }
      }),
    );
  });

  it.each([0, PIECE_BYTES + 1, 0xffffffff])('of a piece of %i bytes are refused before its bytes come', (length) => {
    const head = pieceHead({
      index: 0,
      length: 1,
      written: 0,
      proof: { hash: Buffer.alloc(32), signature: Buffer.alloc(64), signer: 'x' },
    });
    head.writeUInt32BE(length, 5);
    expect(() => decode([head])).toThrow(expect.objectContaining({ code: 'PEER_NONSENSE' }));
  });

  it('take a whole piece, and no more', () => {
    const proof = { hash: Buffer.alloc(32), signature: Buffer.alloc(64), signer: 'x' };
    const bytesOfPiece = Buffer.alloc(PIECE_BYTES, 'abc');
    const all = encode({ type: 'piece', piece: { index: 7, bytes: bytesOfPiece, written: 9, proof } });
    expect(decode([all]).frames).toEqual([
      plain({ type: 'piece', piece: { index: 7, bytes: bytesOfPiece, written: 9, proof } }),
    ]);
  });
});

describe('answers', () => {
  const body = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 5 });

  it('come out as they went in, whatever way their bytes are split, one after the other', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(body, fc.boolean()), { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (answers, cuts) => {
          const wire = answers.flatMap(([parts, chunked]) => {
            const whole = Buffer.concat(parts);
            if (!chunked)
              return [Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${whole.length}\r\nX:\r\n\r\n`), whole];
            const chunks = parts.flatMap((part) => [
              Buffer.from(`${part.length.toString(16)}\r\n`),
              part,
              Buffer.from('\r\n'),
            ]);
            return [
              Buffer.from('HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n'),
              ...chunks,
              Buffer.from('0\r\n\r\n'),
            ];
          });
          const parser = new ResponseParser();
          const got: string[] = [];
          let taken: Buffer[] = [];
          const finish = () => {
            if (!parser.done) return;
            expect(parser.head?.status).toBe(200);
            got.push(Buffer.concat(taken).toString('hex'));
            taken = [];
            parser.reset();
          };
          for (const part of split(Buffer.concat(wire), cuts)) {
            const input = { bytes: part, at: 0, end: part.length };
            while (input.at < input.end) {
              const length = parser.next(input);
              taken.push(Buffer.from(part.subarray(input.at, input.at + length)));
              input.at += length;
              if (length > 0) parser.took(length);
              finish();
            }
          }
          expect(got).toEqual(answers.map(([parts]) => Buffer.concat(parts).toString('hex')));
        },
      ),
    );
  });

  it('that are junk are refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), fc.boolean(), (junk, begun) => {
        const part = Buffer.from(`${begun ? 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n' : ''}${junk}`);
        const parser = new ResponseParser();
        const input = { bytes: part, at: 0, end: part.length };
        try {
          while (input.at < input.end && !parser.done) {
            const length = parser.next(input);
            input.at += length;
            if (length > 0) parser.took(length);
          }
        } catch (error) {
          expect(hasCode(error, 'PEER_NONSENSE')).toBe(true);
        }
      }),
    );
  });
});
