import { WindlassError } from '../errors.ts';

export interface ApiFailureOptions {
  readonly cause?: unknown;
  /** The API server's, in its answer or in an event of a watch. 410: the version to watch from is too old. */
  readonly upstreamStatus?: number | undefined;
  readonly retryAfterMs?: number | undefined;
}

/** What kept the API server from doing what was asked, or from telling it. */
export function apiFailure(message: string, options: ApiFailureOptions = {}): WindlassError {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return new WindlassError('KUBERNETES_UNAVAILABLE', message, Object.fromEntries(given));
}

export function apiNonsense(what: string, cause?: unknown): WindlassError {
  return apiFailure(`the API server sent ${what}`, { cause });
}
