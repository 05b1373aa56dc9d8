import { STATUS_CODES } from 'node:http';

/** The code, or only its class where it is none that is known: upstream may send any, and each would be a series more. */
export function statusLabel(status: number): string {
  return STATUS_CODES[status] === undefined ? `${Math.floor(status / 100)}xx` : String(status);
}
