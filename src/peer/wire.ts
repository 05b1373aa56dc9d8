/** Paths and headers between agents' data planes, beside those of membership.ts and plain-handshake.ts. */
export const API_PATH = '/windlass/v1/';
export const BLOBS_PATH = '/windlass/v1/blobs/';
/** Answered with 204: who is there, before anything is said to it. */
export const HELLO_PATH = '/windlass/v1/hello';

/** Of the blob, in bytes; left out where it is not known. */
export const SIZE_HEADER = 'windlass-size';

/*
 * What a request is about stands in its path, query included: where the network is not encrypted by us, that is what
 * is authenticated.
 *   offset    of a blob: the first byte that the reader is after
 *   replaces  of a blob: the peer whose seat is taken
 *   timeout   of a call: how long the caller waits, in ms
 */
export type QueryKey = 'offset' | 'replaces' | 'timeout';

export function withQuery(path: string, query: Partial<Record<QueryKey, string | number | undefined>>): string {
  const parts = Object.entries(query).filter(([, value]) => value !== undefined);
  return parts.length === 0 ? path : `${path}?${parts.map(([key, value]) => `${key}=${value}`).join('&')}`;
}

/** Strict: nothing here needs escapes. Undefined for what `withQuery` does not write. */
export function splitQuery(
  url: string,
): { readonly path: string; readonly query: ReadonlyMap<string, string> } | undefined {
  const [path = '', text, ...rest] = url.split('?');
  if (rest.length > 0) return undefined;
  const query = new Map<string, string>();
  for (const part of text?.split('&') ?? []) {
    const [, key, value] = /^([a-z]+)=([A-Za-z0-9]+)$/.exec(part) ?? [];
    if (key === undefined || value === undefined || query.has(key)) return undefined;
    query.set(key, value);
  }
  return { path, query };
}

/** A whole number that is safe; undefined for anything else. */
export function numberIn(text: string): number | undefined {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}
