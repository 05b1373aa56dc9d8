import { pino } from 'pino';
import { systemCode, WindlassError } from '../errors.ts';

/**
 * How an error stands in the log. What was foreseen (an error of our own family, or of the system, all the way down its
 * causes) is its code and message: an upstream that is down for an hour must not fill the log with stacks. Anything else
 * is a fault of the code, and has its stack.
 */
export function logError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const whole = pino.stdSerializers.err(error);
  if (!isForeseen(error)) return whole;
  return { type: whole.type, code: systemCode(error), message: whole.message };
}

function isForeseen(error: unknown, depth = 0): boolean {
  if (depth > 10 || !(error instanceof WindlassError || systemCode(error) !== undefined)) return false;
  return !(error instanceof Error) || error.cause === undefined || isForeseen(error.cause, depth + 1);
}
