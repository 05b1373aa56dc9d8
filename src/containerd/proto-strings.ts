/*
 * The little of protobuf's wire format that a few calls to containerd need: fields of bytes (strings, messages). A field
 * is its number and kind in one varint, its length in another, and its bytes.
 */

const LENGTH_DELIMITED = 2;
const VARINT = 0;
const FIXED_64 = 1;
const FIXED_32 = 5;

/** One field, as it is written. @param number below 16 */
export function field(number: number, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.of((number << 3) | LENGTH_DELIMITED), varint(bytes.length), bytes]);
}

/** The last string of that number in a message; empty where there is none. @throws RangeError: it ends too early */
export function stringOf(message: Uint8Array, number: number): string {
  const input = Buffer.from(message);
  let found = '';
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = input.readUInt8(at++);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < input.length) {
    const tag = next();
    const kind = tag & 7;
    if (kind === VARINT) next();
    else if (kind === FIXED_64) at += 8;
    else if (kind === FIXED_32) at += 4;
    else if (kind === LENGTH_DELIMITED) {
      const length = next();
      if (at + length > input.length) throw new RangeError('a field is longer than its message');
      if (Math.floor(tag / 8) === number) found = input.toString('utf8', at, at + length);
      at += length;
    } else throw new RangeError(`no such kind of field: ${kind}`);
  }
  return found;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.of(...bytes, rest);
}
