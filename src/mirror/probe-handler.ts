import { LRUCache } from 'lru-cache';
import { WindlassError } from '../errors.ts';
import { PROBE_ASKED_HEADER, PROBE_REPOSITORY, probeImage } from '../oci/probe-image.ts';
import type { Exchange } from './exchange.ts';
import type { Target } from './request-path.ts';

/** As many as some runs of it ask for; who asks for more only makes it forget. */
const MOST_REMEMBERED = 1_000;

/**
 * What `windlass doctor` pulls to see that pulls come here: answered from memory, kept nowhere, counted as nobody's. Tags
 * are remembered for a while: whoever asks for one again hears that it had been asked for.
 */
export class ProbeHandler {
  readonly #image = probeImage();
  readonly #asked = new LRUCache<string, true>({ max: MOST_REMEMBERED });

  /** @throws NOT_FOUND */
  handle(exchange: Exchange, target: Exclude<Target, { kind: 'ping' }>): void {
    const { manifest, blobs } = this.#image;
    const part =
      target.kind === 'tag'
        ? manifest
        : [manifest, ...blobs].find(({ digest }) => 'digest' in target && digest === target.digest);
    if (part === undefined) throw new WindlassError('NOT_FOUND', `${PROBE_REPOSITORY} has nothing but its one image`);
    exchange.digest = part.digest;
    const headers = {
      'content-type': part.mediaType,
      'docker-content-digest': part.digest,
      ...(target.kind === 'tag' && { [PROBE_ASKED_HEADER]: this.#askedBefore(target) }),
    };
    exchange.answer(200, headers, part.bytes);
  }

  #askedBefore({ origin, tag }: Extract<Target, { kind: 'tag' }>): 'yes' | 'no' {
    const key = `${origin.registry} ${tag}`;
    const answer = this.#asked.has(key) ? 'yes' : 'no';
    this.#asked.set(key, true);
    return answer;
  }
}
