import { hasCode, systemCode, WindlassError } from '../errors.ts';
import type { Answer } from './exchange.ts';

/** What a message may name of a request: no credentials, and no query, which may carry a signature. */
export interface RequestName {
  readonly method: string;
  /** The registry as clients name it. */
  readonly registry: string;
  readonly path: string;
}

export function nameOf(request: RequestName): string {
  return `${request.method} ${request.registry} ${request.path}`;
}

/** What undici, Node or the system reported, as one of our errors. Those that are ours already pass. */
export function connectionFailure(
  error: unknown,
  request: RequestName,
  receivedBytes?: number,
  host: string = request.registry,
): WindlassError {
  // What clients call docker.io is another host, and after a redirect a third one.
  const where = host === request.registry ? '' : ` (${host})`;
  const after = receivedBytes === undefined ? '' : ` after ${receivedBytes} bytes of the body`;
  if (error instanceof WindlassError) {
    return new WindlassError(error.code, `${nameOf(request)}: ${error.message}${after}`, { cause: error });
  }
  return new WindlassError('UPSTREAM_UNAVAILABLE', `${nameOf(request)}: ${reasonOf(error)}${where}${after}`, {
    cause: error,
  });
}

/** Nobody listens there, or the name has no address. */
const NOT_REACHED = [
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
];

/** Told so where it is the server that failed, and not TLS, a file, or what it answered. */
export function markedDown(error: unknown): unknown {
  if (!hasCode(error, 'UPSTREAM_UNAVAILABLE')) return error;
  const { code, message, cause, upstreamStatus, retryAfterMs } = error;
  const failed = upstreamStatus === undefined ? NOT_REACHED.includes(systemCode(cause) ?? '') : upstreamStatus >= 500;
  if (!failed) return error;
  return new WindlassError(code, message, {
    cause,
    registryDown: true,
    ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** The errors that happen every day in words that an operator understands; others in their own. */
function reasonOf(error: unknown): string {
  const code = systemCode(error);
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'connection reset';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `name not resolved (${code})`;
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'no connection in time';
    case 'UND_ERR_HEADERS_TIMEOUT':
      return 'no answer in time';
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return 'connection cut';
    default:
      break;
  }
  if (code?.startsWith('HPE_') === true) return `broken HTTP (${code})`;
  if (!(error instanceof Error)) return String(error);
  // Several addresses, each refused: the first says it.
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  const proxied = /^Proxy response \((\d+)\)/.exec(error.message);
  if (proxied !== null) return `the proxy refused with ${proxied[1]}`;
  return code === undefined ? error.message : `${error.message} (${code})`;
}

/** The error that an answer which is not 2xx stands for. Its body is not read. */
export function statusFailure(answer: Answer, request: RequestName, retryAfterMs?: number): WindlassError {
  const { status } = answer;
  const message = `${nameOf(request)}: upstream answered ${status}`;
  const options = { upstreamStatus: status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  if (status === 404 || status === 410) return new WindlassError('NOT_FOUND', message, options);
  if (status === 401 || status === 403) return new WindlassError('UPSTREAM_UNAUTHORIZED', message, options);
  if (status === 429) return new WindlassError('UPSTREAM_RATE_LIMITED', message, options);
  // 408 and 421 speak of the connection, 451 of the law: none says that the content does not exist.
  if (status >= 500 || status === 408 || status === 421 || status === 425 || status === 451) {
    return new WindlassError('UPSTREAM_UNAVAILABLE', message, options);
  }
  return new WindlassError('UPSTREAM_NONSENSE', message, options);
}
