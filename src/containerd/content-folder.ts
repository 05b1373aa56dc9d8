import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { algorithmOf, type Digest, hexOf, isDigest } from '../oci/digest.ts';

const ALGORITHMS = ['sha256', 'sha512'];

/**
 * containerd's content directory, which is only read. A file in `blobs` was renamed there when it was whole; what is in
 * `ingest`, beside it, is not whole and never looked at.
 */
export class ContentFolder {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  pathOf(digest: Digest): string {
    return join(this.#path, 'blobs', algorithmOf(digest), hexOf(digest));
  }

  /** What lies there, of whatever namespace. @throws the system's error; ENOENT if there is no such directory. */
  async digests(): Promise<Digest[]> {
    const [sha256 = [], sha512 = []] = await Promise.all(ALGORITHMS.map((algorithm) => this.#names(algorithm)));
    return [...sha256, ...sha512];
  }

  async #names(algorithm: string): Promise<Digest[]> {
    const names = await readdir(join(this.#path, 'blobs', algorithm)).catch((error: unknown) => {
      // There is nothing of this algorithm; but is the directory there?
      if (systemCode(error) !== 'ENOENT') throw error;
      return readdir(this.#path).then((): string[] => []);
    });
    return names.map((name) => `${algorithm}:${name}`).filter(isDigest);
  }
}
