import { systemCode } from '../errors.ts';

const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** The disk takes no more, because it is full: room may be made. */
export function isFull(error: unknown): boolean {
  return FULL.has(systemCode(error) ?? '');
}

/** The system refuses, for whatever reason (EIO, EROFS, EMFILE, EACCES, …); bytes that are passed on are as good as any. */
export function isNoRoom(error: unknown): error is Error {
  return /^E[A-Z0-9]+$/.test(systemCode(error) ?? '');
}
