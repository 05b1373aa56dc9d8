import { formatListenAddress, isLoopback, isWildcard, type ListenAddress } from '../config/listen-address.ts';
import { WindlassError } from '../errors.ts';

/**
 * Where this node's runtime asks: an address of this machine alone, if the mirror listens on one.
 * @throws INVALID_SETTINGS where the port is left to the system
 */
export function mirrorAddress(listen: readonly ListenAddress[]): string {
  const chosen = listen.find(isLoopback) ?? listen[0];
  if (chosen === undefined || chosen.port === 0) {
    throw new WindlassError(
      'INVALID_SETTINGS',
      'mirror.listen leaves the port to the system: a runtime cannot be told where to ask; write a port',
    );
  }
  if (!isWildcard(chosen)) return formatListenAddress(chosen);
  return formatListenAddress({ host: chosen.host === '::' ? '::1' : '127.0.0.1', port: chosen.port });
}
