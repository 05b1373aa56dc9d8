/** What a Range header asks for: byte positions, both inclusive; `end` undefined is "to the end", `last` is `bytes=-N`. */
export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'range'; readonly start: number; readonly end: number | undefined }
  | { readonly kind: 'last'; readonly count: number };

const WHOLE: RangeRequest = { kind: 'whole' };

/** No spaces inside and a bounded length: `\s*(\d*)\s*` over 16 KiB of spaces took a quarter of a second. */
const SINGLE = /^bytes=(\d*)-(\d*)$/i;
const MAX_HEADER_LENGTH = 100;

/**
 * Reads a Range header. RFC 9110: what does not parse, another unit, and several ranges (which a server may
 * refuse to combine) are ignored, so the whole is sent.
 */
export function parseRange(header: string | undefined): RangeRequest {
  const match = header === undefined || header.length > MAX_HEADER_LENGTH ? null : SINGLE.exec(header);
  if (match === null) return WHOLE;
  const [, first = '', second = ''] = match;
  if (first === '') return second === '' ? WHOLE : { kind: 'last', count: position(second) };
  // "500-0" is invalid syntax by RFC 9110, so it may be ignored; the distribution spec's clients expect 416.
  return { kind: 'range', start: position(first), end: second === '' ? undefined : position(second) };
}

/** No blob is that long, so what exceeds a safe integer may be any number past the end. */
function position(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}

/**
 * Fits a request into a blob of `sizeBytes`. An empty blob is sent whole, whatever part of it is asked for:
 * clients that put `bytes=0-` on every request would take a 416 for a failure (Go's ServeContent does the same).
 * @returns the range to send (`end` always set), undefined for the whole, or 'unsatisfiable' (416).
 */
export function resolveRange(
  request: RangeRequest,
  sizeBytes: number,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  if (request.kind === 'whole') return undefined;
  if (sizeBytes === 0) return undefined;
  if (request.kind === 'last') {
    if (request.count === 0) return 'unsatisfiable';
    return { start: Math.max(0, sizeBytes - request.count), end: sizeBytes - 1 };
  }
  const { start } = request;
  const end = Math.min(request.end ?? sizeBytes - 1, sizeBytes - 1);
  return start >= sizeBytes || start > end ? 'unsatisfiable' : { start, end };
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(?:(\d{1,15})|\*)$/i;

/**
 * Reads `Content-Range: bytes 0-9/100`; `sizeBytes` undefined for `/*`.
 * @returns undefined if it does not parse, or contradicts itself (RFC 9110: such a part must not be joined to another).
 */
export function parseContentRange(
  header: string | undefined,
): { start: number; end: number; sizeBytes: number | undefined } | undefined {
  const match = header === undefined ? null : CONTENT_RANGE.exec(header);
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]);
  const sizeBytes = match[3] === undefined ? undefined : Number(match[3]);
  return end < start || (sizeBytes !== undefined && sizeBytes <= end) ? undefined : { start, end, sizeBytes };
}
