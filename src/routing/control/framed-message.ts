import type { Stream } from '@libp2p/interface';
import * as lengthPrefixed from 'it-length-prefixed';
import { WindlassError } from '../../errors.ts';

/** One message of JSON, its length before it. */
export function sendMessage(stream: Stream, message: unknown): void {
  stream.send(lengthPrefixed.encode.single(Buffer.from(JSON.stringify(message))));
}

/** @throws PEER_GONE if the stream ends before; PEER_NONSENSE if it is longer, or no JSON. */
export async function receiveMessage(stream: Stream, maxBytes: number): Promise<unknown> {
  try {
    for await (const message of lengthPrefixed.decode(stream, { maxDataLength: maxBytes })) {
      return JSON.parse(Buffer.from(message.subarray()).toString());
    }
  } catch (cause) {
    throw new WindlassError('PEER_NONSENSE', 'a message that cannot be read', { cause });
  }
  throw new WindlassError('PEER_GONE', 'the stream ended before its message');
}
