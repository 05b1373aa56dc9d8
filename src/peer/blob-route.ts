import type { ServerResponse } from 'node:http';
import { hasCode, WindlassError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { PeerOffer, PeerOffers } from '../pull/peer-streams.ts';
import type { Guest } from './door.ts';
import { PIECES_TYPE } from './frames.ts';
import { statusOf, tellable } from './peer-status.ts';
import { PieceSender } from './piece-sender.ts';
import type { Transfer } from './transfer.ts';
import type { Uploads } from './uploads.ts';
import { BLOBS_PATH, numberIn, SIZE_HEADER } from './wire.ts';

/** GET /windlass/v1/blobs/<digest>: what is offered of it, as frames. */
export class BlobRoute {
  readonly #offers: PeerOffers;
  readonly #uploads: Uploads;
  readonly #sender: PieceSender;

  constructor(offers: PeerOffers, uploads: Uploads, writeTimeoutMs: number) {
    this.#offers = offers;
    this.#uploads = uploads;
    this.#sender = new PieceSender(uploads, writeTimeoutMs);
  }

  /** @throws what the offer threw that is none of ours; all else is told to the reader. */
  async serve(
    guest: Guest,
    { path, query }: { readonly path: string; readonly query: ReadonlyMap<string, string> },
    response: ServerResponse,
    left: AbortSignal,
  ): Promise<void> {
    const digest = path.slice(BLOBS_PATH.length);
    const offset = numberIn(query.get('offset') ?? '0');
    if (!guest.hasSent(new Uint8Array()) || !isDigest(digest) || offset === undefined) {
      decline(guest, response, new WindlassError('PEER_NONSENSE', 'not a request for a blob'));
      return;
    }
    const seat = query.get('replaces');
    const transfer = this.#uploads.begin(guest.peerId, digest, seat);
    if (transfer === undefined) {
      decline(guest, response, new WindlassError('PEER_BUSY', 'no upload slot is free'));
      return;
    }
    try {
      const offer = await this.#offer(guest, digest, { offset, replaces: seat, signal: left });
      if (left.aborted) return;
      if (offer instanceof WindlassError) decline(guest, response, offer);
      else await this.#send(guest, response, offer, transfer, offset, left);
    } finally {
      this.#uploads.end(transfer);
    }
  }

  async #offer(
    guest: Guest,
    digest: Digest,
    options: { offset: number; replaces: string | undefined; signal: AbortSignal },
  ): Promise<PeerOffer | WindlassError> {
    try {
      const offer = await this.#offers.offer(digest, { ...options, to: guest.peerId });
      return offer ?? new WindlassError('PEER_MISSING', 'not here');
    } catch (error) {
      if (error instanceof WindlassError) return error;
      throw error;
    }
  }

  async #send(
    guest: Guest,
    response: ServerResponse,
    offer: PeerOffer,
    transfer: Transfer,
    offset: number,
    left: AbortSignal,
  ): Promise<void> {
    const { sizeBytes } = offer;
    transfer.sizeBytes = sizeBytes;
    transfer.offset = offset;
    response.writeHead(200, {
      'content-type': PIECES_TYPE,
      'transfer-encoding': 'chunked',
      ...(sizeBytes === undefined ? {} : { [SIZE_HEADER]: sizeBytes }),
      ...guest.seal(200, undefined),
    });
    await this.#sender.send(response, offer, transfer, left);
  }
}

function decline(guest: Guest, response: ServerResponse, error: WindlassError): void {
  const body = Buffer.from(JSON.stringify(tellable(error)));
  // What failed here is no reason to ask again at once.
  const status = hasCode(error, 'PEER_FAILED', 'PEER_GONE') ? 503 : statusOf(error);
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  response.writeHead(status, { ...headers, ...guest.seal(status, body) }).end(body);
}
