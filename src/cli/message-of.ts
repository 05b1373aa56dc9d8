import { systemCode, WindlassError } from '../errors.ts';

/** One line where the cause is known; a stack is for the faults of our own. */
export function messageOf(error: unknown): string {
  if (error instanceof WindlassError || systemCode(error) !== undefined) return (error as Error).message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
