import { posix } from 'node:path';

const BLOCK = 512;

export interface TarFile {
  readonly path: string;
  readonly bytes: Buffer;
  readonly mode?: number;
}

/** A ustar archive of regular files and the folders above them, root's, of 1970: the same bytes each time. */
export function tar(files: readonly TarFile[]): Buffer {
  const parts: Buffer[] = [];
  const made = new Set<string>();
  for (const { path, bytes, mode = 0o644 } of files) {
    for (const folder of parents(path)) {
      if (!made.has(folder)) parts.push(header(`${folder}/`, 0, 0o755, '5'));
      made.add(folder);
    }
    parts.push(header(path, bytes.length, mode, '0'), bytes, Buffer.alloc(-bytes.length & (BLOCK - 1)));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

function parents(path: string): string[] {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [...parents(folder), folder];
}

function header(path: string, sizeBytes: number, mode: number, type: '0' | '5'): Buffer {
  if (Buffer.byteLength(path) > 100) throw new RangeError(`too long for a ustar name: ${path}`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, width: number) =>
    block.write(value.toString(8).padStart(width - 1, '0'), offset);
  block.write(path, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8); // uid
  octal(0, 116, 8); // gid
  octal(sizeBytes, 124, 12);
  octal(0, 136, 12); // mtime
  block.write(' '.repeat(8), 148); // the checksum counts itself as spaces
  block.write(type, 156);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
