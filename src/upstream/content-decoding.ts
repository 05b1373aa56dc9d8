import { pipeline, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { systemCode, WindlassError } from '../errors.ts';
import { connectionFailure, nameOf, type RequestName } from './upstream-failure.ts';

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};

/**
 * The bytes behind a Content-Encoding that came although identity was asked for: the digest is of these.
 * @throws UPSTREAM_NONSENSE for an encoding that nobody asked for and we cannot undo.
 */
export function decodeBody(
  body: AsyncIterableIterator<Uint8Array>,
  encoding: string,
  name: RequestName,
): AsyncIterable<Uint8Array> {
  const decoder = DECODERS[encoding.trim().toLowerCase()];
  if (decoder === undefined) {
    void body.return?.();
    throw new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: Content-Encoding ${encoding.slice(0, 50)}`);
  }
  return decoded(body, decoder(), name);
}

/** Not a generator: one that is left before its first chunk would never free the connection. */
function decoded(
  body: AsyncIterableIterator<Uint8Array>,
  decoder: Transform,
  name: RequestName,
): AsyncIterableIterator<Uint8Array, undefined> {
  pipeline(body, decoder, () => {}); // an error of either side comes out of the decoder
  const chunks = decoder[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  return {
    async next() {
      try {
        return await chunks.next();
      } catch (error) {
        throw decodingFailure(error, name);
      }
    },
    async return() {
      void body.return?.();
      decoder.destroy();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function decodingFailure(error: unknown, name: RequestName): unknown {
  const code = systemCode(error);
  if (code === undefined || error instanceof WindlassError) return error;
  // zlib's word for an end that came too early.
  if (code === 'Z_BUF_ERROR') return connectionFailure(error, name);
  return new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: broken Content-Encoding (${code})`, { cause: error });
}
