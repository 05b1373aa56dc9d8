export interface TarFile {
  /** Relative, at most 100 bytes; a directory ends in a slash. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

const BLOCK_BYTES = 512;

/** A ustar archive whose bytes depend on nothing but its files: owner root, time 0. */
export function createTar(files: readonly TarFile[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const { path, bytes } of files) {
    parts.push(header(path, bytes.length), bytes, Buffer.alloc(padding(bytes.length)));
  }
  parts.push(Buffer.alloc(2 * BLOCK_BYTES));
  return Buffer.concat(parts);
}

function header(path: string, sizeBytes: number): Buffer {
  if (Buffer.byteLength(path) > 100) throw new RangeError(`a path of more than 100 bytes: ${path}`);
  const isDirectory = path.endsWith('/');
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(path, 0);
  block.write(octal(isDirectory ? 0o755 : 0o644, 7), 100);
  block.write(octal(0, 7), 108); // uid
  block.write(octal(0, 7), 116); // gid
  block.write(octal(sizeBytes, 11), 124);
  block.write(octal(0, 11), 136); // mtime
  block.write(' '.repeat(8), 148); // the checksum counts as spaces while it is reckoned
  block.write(isDirectory ? '5' : '0', 156);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148, 'latin1');
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function padding(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}
