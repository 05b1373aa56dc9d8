import type { Extent } from '../store/blob-store.ts';
import { INLINE_BYTES } from './claims/messages.ts';
import { PIECE_BYTES } from './piece.ts';

/** Held back until the digest is verified: without its end nobody can take a blob for complete. */
const TAIL_BYTES = 64 * 1024;

interface Progress {
  readonly written: number;
  readonly sizeBytes: number | undefined;
  /** All is written, and has its digest. */
  readonly verified: boolean;
}

/** How much of a blob that arrives clients may have: all but the tail, until the digest holds. */
export function availableTo({ written, sizeBytes, verified }: Progress): number {
  if (verified) return written;
  return Math.max(0, Math.min(written, (sizeBytes ?? written) - TAIL_BYTES));
}

/** How much of it other agents may have: whole pieces, the last one when the digest holds. */
export function offeredOf({ written, sizeBytes, verified }: Progress): number {
  if (verified) return written;
  const last = Math.max(0, (sizeBytes ?? written) - 1);
  return wholePieces(Math.min(written, last));
}

/** All of a blob that is small enough to travel in a claim's answer. */
export async function readSmall(extent: Extent, sizeBytes: number): Promise<Uint8Array | undefined> {
  if (sizeBytes > INLINE_BYTES) return undefined;
  const bytes = new Uint8Array(sizeBytes);
  for (let filled = 0; filled < bytes.length; ) {
    const count = await extent.read(bytes.subarray(filled), filled);
    if (count === 0) return undefined;
    filled += count;
  }
  return bytes;
}

function wholePieces(bytes: number): number {
  return bytes - (bytes % PIECE_BYTES);
}
