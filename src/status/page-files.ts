import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';

/** The folder `page` beside this module: in a checkout, and in what `npm run build` makes, which copies it. */
const FOLDER = new URL('./page/', import.meta.url);

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly etag: string;
}

/** The page's files by their path below the folder, `index.html` as well as `uplot/uplot.js`. Read once. */
export class PageFiles {
  #files: Promise<ReadonlyMap<string, PageFile>> | undefined;

  /** Undefined: there is none. Rejects where the folder cannot be read; the next call tries again. */
  async get(path: string): Promise<PageFile | undefined> {
    this.#files ??= readAll().catch((error: unknown) => {
      this.#files = undefined;
      throw error;
    });
    return (await this.#files).get(path);
  }
}

async function readAll(): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  for (const path of await readdir(FOLDER, { recursive: true })) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    const bytes = await readFile(new URL(path, FOLDER));
    files.set(path, { type, bytes, etag: `"${createHash('sha256').update(bytes).digest('base64url')}"` });
  }
  return files;
}
