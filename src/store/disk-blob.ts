import type { Digest } from '../oci/digest.ts';
import type { HeldBlob } from './blob-index.ts';
import type { CountedFile } from './counted-file.ts';

/** A committed blob on disk. There may be 100,000 of these: few fields. */
export interface DiskBlob extends HeldBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  pins: number;
  /** Last use as the file's mtime says. */
  touchedMs: number;
  /** Who has it open, or is about to. */
  readers: number;
  /** While it is read: one descriptor for all its readers. Its promise gives undefined if there is no such file. */
  file: Promise<CountedFile | undefined> | undefined;
}

export function newDiskBlob(digest: Digest, sizeBytes: number, touchedMs: number): DiskBlob {
  return { digest, sizeBytes, pins: 0, touchedMs, readers: 0, file: undefined };
}
