import { randomBytes } from 'node:crypto';

const MIN_BYTES = 16;
const FRESH_BYTES = 32;

/** As `head -c 32 /dev/urandom | base64` makes one: 44 characters, for files and Secrets. */
export function freshSecret(): string {
  return randomBytes(FRESH_BYTES).toString('base64');
}

/** Without the ends of lines behind it. @throws if it is too short; what it throws does not quote the contents */
export function parseSecret(contents: Buffer): Buffer {
  let end = contents.length;
  while (end > 0 && (contents[end - 1] === 0x0a || contents[end - 1] === 0x0d)) end -= 1;
  if (end < MIN_BYTES) throw new Error(`has ${end} bytes, at least ${MIN_BYTES} are needed`);
  return Buffer.from(contents.subarray(0, end));
}
