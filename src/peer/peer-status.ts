import { ERROR_TABLE, type ErrorCode, hasCode, WindlassError } from '../errors.ts';

/** What an agent that declines answers with; 401 is the door's own. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  PEER_BUSY: 503,
  STOPPING: 503,
  PEER_SILENT: 503,
  PEER_MISSING: 404,
  PEER_DENIED: 403,
  PEER_NONSENSE: 400,
};

export function statusOf(error: unknown): number {
  return error instanceof WindlassError ? (STATUS[error.code] ?? 500) : 500;
}

/** What an agent's answer other than 2xx means. `said`: its own words, for the message. */
export function errorOfStatus(status: number, who: string, said = ''): WindlassError {
  const message = `${who} answered ${status}${said === '' ? '' : `: ${said.slice(0, 500)}`}`;
  if (status === 401 || status === 403) return new WindlassError('PEER_DENIED', message);
  if (status === 404) return new WindlassError('PEER_MISSING', message);
  if (status >= 500) return new WindlassError('PEER_BUSY', message);
  return new WindlassError('PEER_NONSENSE', message);
}

/** As it is told to other agents: never a stack, nothing of what is not ours. */
export function tellable(error: unknown): { code: ErrorCode; message: string; upstreamStatus?: number } {
  if (!(error instanceof WindlassError)) return { code: 'PEER_FAILED', message: 'internal error' };
  const { code, message, upstreamStatus } = error;
  return { code, message: message.slice(0, 500), ...(upstreamStatus === undefined ? {} : { upstreamStatus }) };
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_TABLE, code);
}

/** Was it declined, rather than broken here? */
export function isDeclined(error: unknown): boolean {
  return hasCode(error, 'PEER_BUSY', 'PEER_MISSING', 'PEER_DENIED', 'PEER_NONSENSE', 'PEER_SILENT', 'STOPPING');
}
