import { type DestinationStream, type Logger, pino } from 'pino';
import type { Settings } from '../config/settings.ts';
import { logError } from './log-error.ts';
import { formatLogLine } from './log-line.ts';

/**
 * Writes to stdout, without buffering: the last lines before a crash are the ones that are needed, a reader that is slow
 * must not fill the memory, and what is left in the buffer when the reader has gone (`| tee`, then Ctrl-C) would be
 * tried for ever at exit.
 */
export function createLogger(
  { level, format }: Settings['log'],
  output: DestinationStream = pino.destination({ dest: 1, sync: true }),
): Logger {
  const destination = format === 'json' ? output : { write: (line: string) => output.write(formatLogLine(line)) };
  const serializers = { err: logError };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers }, destination);
}
