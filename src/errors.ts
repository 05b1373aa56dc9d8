/**
 * The one family of errors. Callers match on `code`, never on the message.
 *
 * Each code says what an OCI client is told (`status`, `ociCode`; null where the error never reaches one).
 * 401, 403 and 429 are never passed on: containerd goes to its next host at once on 404 and 503, and the
 * registry itself, which is always the last host, then sees the client's own credentials.
 */
export const ERROR_TABLE = {
  /** Settings that cannot be used; the message lists every fault. */
  INVALID_SETTINGS: { status: 500, ociCode: 'UNKNOWN' },
  /** A digest, reference, range or path that does not parse. */
  INVALID_DIGEST: { status: 400, ociCode: 'DIGEST_INVALID' },
  INVALID_NAME: { status: 400, ociCode: 'NAME_INVALID' },
  INVALID_RANGE: { status: 416, ociCode: 'RANGE_INVALID' },
  /** A registry that is not on the allow-list, or an address that it may not resolve to. */
  REGISTRY_DENIED: { status: 403, ociCode: 'DENIED' },
  METHOD_NOT_ALLOWED: { status: 405, ociCode: 'UNSUPPORTED' },
  /** Upstream says that it does not exist (404, or 410). */
  NOT_FOUND: { status: 404, ociCode: 'NOT_FOUND' },
  /** Upstream refused with 401 or 403. Never remembered as absence. */
  UPSTREAM_UNAUTHORIZED: { status: 404, ociCode: 'NOT_FOUND' },
  /** Refused, reset, no route, DNS, TLS, a 5xx: upstream cannot be used now. */
  UPSTREAM_UNAVAILABLE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** 429, or a Retry-After that has not passed. */
  UPSTREAM_RATE_LIMITED: { status: 503, ociCode: 'UNAVAILABLE' },
  /** No byte for as long as the bound allows. */
  UPSTREAM_STALLED: { status: 503, ociCode: 'UNAVAILABLE' },
  /** An answer that is no registry's: HTML with 200, a redirect loop, a manifest over the limit. */
  UPSTREAM_NONSENSE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** The bytes do not have their digest, or not their length. Never kept. */
  DIGEST_MISMATCH: { status: 503, ociCode: 'UNAVAILABLE' },
  /** While bytes pass without being kept, a reader that takes none for too long is left behind. */
  READER_TOO_SLOW: { status: 503, ociCode: 'UNAVAILABLE' },
  /** A store of a newer format, or a path that cannot be written. */
  STORE_UNUSABLE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** What `configure` noted of a folder cannot be read, or another one is at work in it. */
  RECORD_UNUSABLE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent cannot be reached: refused, reset, ended early, no route. */
  PEER_GONE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent answered nothing within its bound. */
  PEER_SILENT: { status: 503, ociCode: 'UNAVAILABLE' },
  /** One side could not prove that it belongs to the cluster. */
  PEER_DENIED: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent has no upload slot, or no turn, left. */
  PEER_BUSY: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent does not have what it was named for. */
  PEER_MISSING: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent's ingest, from which we read, failed. */
  PEER_FAILED: { status: 503, ociCode: 'UNAVAILABLE' },
  /** Another agent's answer makes no sense, or its bytes do not have their hash. */
  PEER_NONSENSE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** The API of Kubernetes gives no answer that can be used. */
  KUBERNETES_UNAVAILABLE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** An object of Kubernetes (a Secret, a DaemonSet) is not what it must be, or not there. */
  OBJECT_UNUSABLE: { status: 503, ociCode: 'UNAVAILABLE' },
  /** This process is going down. */
  STOPPING: { status: 503, ociCode: 'UNAVAILABLE' },
} as const satisfies Record<string, { status: number; ociCode: string }>;

export type ErrorCode = keyof typeof ERROR_TABLE;

export interface WindlassErrorOptions {
  cause?: unknown;
  /** Upstream's status, where it answered. */
  upstreamStatus?: number;
  /** How long upstream asks to be left alone, in milliseconds. */
  retryAfterMs?: number;
  /** The registry itself takes no connection, has no address or answers 5xx: no token server, proxy or redirect's target. */
  registryDown?: boolean;
}

export class WindlassError extends Error {
  override readonly name = 'WindlassError';
  readonly code: ErrorCode;
  readonly upstreamStatus: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly registryDown: boolean;

  constructor(code: ErrorCode, message: string, options: WindlassErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.upstreamStatus = options.upstreamStatus;
    this.retryAfterMs = options.retryAfterMs;
    this.registryDown = options.registryDown === true;
  }
}

/** For want of something here another agent was not asked: nothing is known of it, least of all that it is dead. */
export class NotAsked extends WindlassError {
  constructor(message: string, cause?: unknown) {
    super('PEER_BUSY', message, { cause });
  }
}

export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is WindlassError {
  return error instanceof WindlassError && codes.includes(error.code);
}

/** The `code` of a system error (ENOENT, ECONNREFUSED, …), else undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
