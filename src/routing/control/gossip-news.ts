import { createHash, randomBytes } from 'node:crypto';
import { type GossipSub, gossipsub, type Message, StrictNoSign, TopicValidatorResult } from '@libp2p/gossipsub';
import type { Logger } from 'pino';
import type { Timers } from '../../time/timers.ts';
import { bytesOfPeerId, peerIdOfBytes } from '../identity-peer-id.ts';
import type { PeerId } from '../member.ts';
import { TokenBucket } from './token-bucket.ts';

const TOPIC = '/windlass/news/1';
export const MAX_NEWS_BYTES = 64 * 1024;
const PUBLISHED_PER_SECOND = 4;
const PUBLISHED_BURST = 16;
/** From all together, and so what is passed on: a piece of news a second of 200 agents. What is more is lost. */
const HEARD_PER_SECOND = 200;
const HEARD_BURST = 1_000;
const HEARD_BYTES_PER_SECOND = 4 * 1024 * 1024;

/** Version; who says it; so that no two are the same. */
const VERSION = 1;
const PEER_BYTES = 32;
const NONCE_BYTES = 8;
const HEADER_BYTES = 1 + PEER_BYTES + NONCE_BYTES;

export type NewsListener = (bytes: Uint8Array, from: PeerId) => void;

/** gossipsub as it is needed here: unsigned (an eighth of the CPU, and bursts arrive), and no scores of members. */
export function newsService(): ReturnType<typeof gossipsub> {
  return gossipsub({
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: ({ data }: Message) => createHash('sha256').update(data).digest(),
    allowPublishToZeroTopicPeers: true,
    allowedTopics: [TOPIC],
    emitSelf: false,
    // Many agents may have one address; and nobody is punished for what a loaded node did not answer in time.
    scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 },
    maxInboundDataLength: 512 * 1024,
    maxOutboundBufferSize: 8 * 1024 * 1024,
    maxTopicBytesPerPeer: 16 * 1024,
    maxInboundStreams: 4,
    maxOutboundStreams: 4,
  });
}

export interface GossipNewsOptions {
  readonly self: PeerId;
  readonly pubsub: GossipSub;
  /** Has said hello. */
  readonly isPeer: (peerId: PeerId) => boolean;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * News to all members: lossy, in no order, at least never twice within two minutes. What is over the rate or over
 * 64 KiB is dropped, so publish few and full ones.
 *
 * `from` is who says to have published it. Only members can have; which of them is not proven, so nobody is to be
 * blamed by it (what must be proven is signed by whoever says it, as roster entries are).
 */
export class GossipNews {
  readonly #options: GossipNewsOptions;
  readonly #listeners = new Set<NewsListener>();
  readonly #mayPublish: TokenBucket;
  readonly #mayHear: TokenBucket;
  readonly #mayHearBytes: TokenBucket;

  constructor(options: GossipNewsOptions) {
    this.#options = options;
    const { timers, pubsub } = options;
    this.#mayPublish = new TokenBucket({ perSecond: PUBLISHED_PER_SECOND, burst: PUBLISHED_BURST, timers });
    this.#mayHear = new TokenBucket({ perSecond: HEARD_PER_SECOND, burst: HEARD_BURST, timers });
    this.#mayHearBytes = new TokenBucket({
      perSecond: HEARD_BYTES_PER_SECOND,
      burst: 4 * HEARD_BYTES_PER_SECOND,
      timers,
    });
    pubsub.topicValidators.set(TOPIC, (peer, message) => this.#validate(peer.toString(), message));
    pubsub.addEventListener('message', ({ detail }) => this.#hear(detail));
  }

  start(): void {
    this.#options.pubsub.subscribe(TOPIC);
  }

  /** @returns false if it was dropped: too long, or too often. */
  publish(bytes: Uint8Array): boolean {
    const { pubsub, self, logger } = this.#options;
    if (bytes.length > MAX_NEWS_BYTES || !this.#mayPublish.take(1)) {
      logger.debug({ bytes: bytes.length }, 'news not published: too long, or too often');
      return false;
    }
    const origin = bytesOfPeerId(self);
    if (origin === undefined) return false;
    const data = Buffer.concat([Buffer.from([VERSION]), origin, randomBytes(NONCE_BYTES), bytes]);
    pubsub.publish(TOPIC, data).catch((err) => logger.debug({ err }, 'news not published'));
    return true;
  }

  /** @returns unsubscribe */
  subscribe(listener: NewsListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What is not accepted is not passed on either. */
  #validate(relay: PeerId, { data }: Message): TopicValidatorResult {
    if (!this.#options.isPeer(relay)) return TopicValidatorResult.Ignore;
    if (data.length < HEADER_BYTES || data.length > HEADER_BYTES + MAX_NEWS_BYTES) return TopicValidatorResult.Reject;
    return this.#mayHear.take(1) && this.#mayHearBytes.take(data.length)
      ? TopicValidatorResult.Accept
      : TopicValidatorResult.Ignore;
  }

  #hear({ topic, data }: Message): void {
    if (topic !== TOPIC || data[0] !== VERSION) return;
    const from = peerIdOfBytes(data.subarray(1, 1 + PEER_BYTES));
    if (from === this.#options.self) return;
    const bytes = data.subarray(HEADER_BYTES);
    for (const listener of this.#listeners) {
      try {
        listener(bytes, from);
      } catch (err) {
        this.#options.logger.warn({ err, from }, 'news that made no sense');
      }
    }
  }
}
