/** After a failure: this, then twice as long each time. */
const FIRST_WAIT_MS = 250;

/**
 * How long to wait after a failure: half to one and a half of what is due, so that many spread.
 * @param failures in a row, before this one
 * @param random from 0 to below 1
 * @returns ms
 */
export function backOffMs(failures: number, longestMs: number, random: number): number {
  return Math.min(longestMs, FIRST_WAIT_MS * 2 ** Math.min(failures, 10)) * (0.5 + random);
}
