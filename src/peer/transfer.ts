import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';

/** A blob on its way from or to another agent, for whoever looks on. */
export class Transfer {
  readonly direction: 'upload' | 'download';
  readonly peerId: PeerId;
  readonly digest: Digest;
  readonly startedAtMs = performance.now();
  /** Of the blob; undefined while it is not known. */
  sizeBytes: number | undefined;
  /** Where the stream began. */
  offset = 0;
  /** Body bytes so far. */
  bytes = 0;

  constructor(direction: 'upload' | 'download', peerId: PeerId, digest: Digest) {
    this.direction = direction;
    this.peerId = peerId;
    this.digest = digest;
  }
}
