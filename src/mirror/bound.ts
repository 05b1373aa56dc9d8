import { WindlassError } from '../errors.ts';

/**
 * Runs a call that must be done within `timeoutMs`, or reject with UPSTREAM_STALLED; what it has set in motion goes
 * on for others.
 */
export async function withBound<T>(
  timeoutMs: number,
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    abort.abort(new WindlassError('UPSTREAM_STALLED', `upstream did not answer within ${timeoutMs} ms; still trying`));
  }, timeoutMs);
  try {
    return await call(abort.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
