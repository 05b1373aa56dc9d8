import { WindlassError } from '../errors.ts';
import { PROBE_REPOSITORY, probeImage } from '../oci/probe-image.ts';
import type { Exchange } from './exchange.ts';
import type { Target } from './request-path.ts';

/** What `windlass doctor` pulls to see that pulls come here: answered from memory, kept nowhere, counted as nobody's. */
export class ProbeHandler {
  readonly #image = probeImage();

  /** @throws NOT_FOUND */
  handle(exchange: Exchange, target: Exclude<Target, { kind: 'ping' }>): void {
    const { manifest, blobs } = this.#image;
    const part =
      target.kind === 'tag'
        ? manifest
        : [manifest, ...blobs].find(({ digest }) => 'digest' in target && digest === target.digest);
    if (part === undefined) throw new WindlassError('NOT_FOUND', `${PROBE_REPOSITORY} has nothing but its one image`);
    exchange.digest = part.digest;
    const headers = { 'content-type': part.mediaType, 'docker-content-digest': part.digest };
    exchange.answer(200, headers, part.bytes);
  }
}
