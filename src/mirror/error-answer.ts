import { ERROR_TABLE, type ErrorCode, WindlassError } from '../errors.ts';
import type { Target } from './request-path.ts';

/** An error as a client gets it: a status that makes a container runtime go on to its next host, and the spec's JSON. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: string;
  readonly code: ErrorCode | 'INTERNAL';
}

/** What "not found" is called in the distribution spec, by what was asked for. */
const NOT_FOUND_CODES: Record<Target['kind'], string> = {
  ping: 'UNSUPPORTED',
  manifest: 'MANIFEST_UNKNOWN',
  tag: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  relay: 'NAME_UNKNOWN',
};

export function errorAnswer(error: unknown, kind: Target['kind'] | undefined): ErrorAnswer {
  if (!(error instanceof WindlassError)) {
    return { status: 500, body: errorBody('UNKNOWN', 'internal error; the log says more'), code: 'INTERNAL' };
  }
  const { status, ociCode } = ERROR_TABLE[error.code];
  const code = ociCode === 'NOT_FOUND' ? NOT_FOUND_CODES[kind ?? 'ping'] : ociCode;
  return { status, body: errorBody(code, error.message, { windlass: error.code }), code: error.code };
}

/** @param detail what this mirror calls it: one status and code of the spec may have several causes */
function errorBody(code: string, message: string, detail: { readonly windlass: ErrorCode } | null = null): string {
  return `${JSON.stringify({ errors: [{ code, message, detail }] })}\n`;
}
