import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { systemCode } from '../errors.ts';
import { isDigest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { KeyedTurns } from '../time/keyed-turns.ts';
import type { NamedTag, TagRecord, TagStore } from './tag-store.ts';

export interface DiskTagStoreOptions {
  /** The store's folder: tags are below it, in `tags/`. */
  readonly path: string;
  /** Beyond, those that were longest not checked go. */
  readonly maxTags?: number;
  readonly logger: Logger;
}

/** What is in a file: the record, and whose it is. */
interface TagFile extends TagRecord {
  readonly name: string;
}

const IN_MEMORY = 4096;

/**
 * Tags, a small file each: `tags/<first two>/<sha256 of name>.json`, replaced by rename. Nothing is synced: what a
 * machine's crash takes or mangles counts as absent, and is asked upstream again.
 */
export class DiskTagStore implements TagStore {
  readonly #folder: string;
  readonly #maxTags: number;
  readonly #logger: Logger;
  readonly #memory = new LRUCache<string, TagRecord>({ max: IN_MEMORY });
  /** What is done to one file is done in turn. */
  readonly #turns = new KeyedTurns<string>();
  /** In the names of this process' temporary files: others of that kind are leftovers. */
  readonly #own = `${process.pid}-${randomBytes(4).toString('hex')}`;
  #writes = 0;
  /** Files at most: counted, and every one that was written since. Infinity until the first count. */
  #atMost = Number.POSITIVE_INFINITY;
  #pruning: Promise<void> | undefined;

  constructor({ path, maxTags = 50_000, logger }: DiskTagStoreOptions) {
    this.#folder = join(path, 'tags');
    this.#maxTags = maxTags;
    this.#logger = logger;
  }

  async get(name: RepositoryName, tag: string): Promise<TagRecord | undefined> {
    const key = keyOf(name, tag);
    return this.#memory.get(key) ?? (await this.#turns.run(key, () => this.#load(key)));
  }

  /** In memory at once; a disk that takes no more is logged, and the tag is forgotten at the next start. */
  async set(name: RepositoryName, tag: string, record: TagRecord): Promise<void> {
    const key = keyOf(name, tag);
    const { digest, mediaType, sizeBytes, checkedAtMs } = record;
    const file: TagFile = { name: key, digest, mediaType, sizeBytes, checkedAtMs };
    this.#memory.set(key, { digest, mediaType, sizeBytes, checkedAtMs });
    await this.#turns.run(key, async () => {
      try {
        await this.#save(this.#pathOf(key), file);
      } catch (error) {
        this.#logger.warn({ err: error, tag: key }, 'tag cannot be written');
      }
    });
    this.#prune();
  }

  async delete(name: RepositoryName, tag: string): Promise<boolean> {
    const key = keyOf(name, tag);
    return await this.#turns.run(key, async () => {
      const held = this.#memory.has(key) || (await this.#load(key)) !== undefined;
      this.#memory.delete(key);
      await rm(this.#pathOf(key), { force: true });
      return held;
    });
  }

  async list(max: number): Promise<readonly NamedTag[]> {
    const found: NamedTag[] = [];
    for await (const path of this.#files()) {
      if (found.length >= max) break;
      if (!path.endsWith('.json')) continue;
      try {
        const text = await readFile(path, 'utf8');
        const key = nameIn(text);
        found.push({ ...namesOf(key), record: this.#memory.peek(key) ?? parse(text, key) });
      } catch (error) {
        // Deleted meanwhile; or not one of ours, which `get` says when somebody asks for it.
        this.#logger.debug({ err: error, path }, 'tag passed over');
      }
    }
    return found;
  }

  async *#files(): AsyncGenerator<string> {
    const folders = await readdir(this.#folder, { withFileTypes: true }).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw error;
    });
    for (const folder of folders) {
      if (!folder.isDirectory()) continue;
      const path = join(this.#folder, folder.name);
      const names = await readdir(path).catch((error: unknown) => {
        this.#logger.warn({ err: error, path }, 'tags cannot be listed');
        return [];
      });
      for (const name of names) yield join(path, name);
    }
  }

  async #load(key: string): Promise<TagRecord | undefined> {
    const known = this.#memory.get(key);
    if (known !== undefined) return known;
    let record: TagRecord | undefined;
    try {
      record = parse(await readFile(this.#pathOf(key), 'utf8'), key);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      this.#logger.warn({ err: error, tag: key }, 'tag cannot be read: counts as absent');
    }
    // A set that came while the file was read is newer.
    const newer = this.#memory.get(key);
    if (newer === undefined && record !== undefined) this.#memory.set(key, record);
    return newer ?? record;
  }

  async #save(path: string, file: TagFile): Promise<void> {
    this.#writes += 1;
    const temporary = `${path}.${this.#own}-${this.#writes}.tmp`;
    const text = JSON.stringify(file);
    try {
      await writeFile(temporary, text, { mode: 0o600 }).catch(async (error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error;
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await writeFile(temporary, text, { mode: 0o600 });
      });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    this.#atMost += 1;
  }

  /**
   * Counts the files when there may be too many, and removes the oldest, until a tenth of the room is free: tags that
   * are set again count too, and each may be the one too many.
   */
  #prune(): void {
    if (this.#atMost <= this.#maxTags || this.#pruning !== undefined) return;
    this.#pruning = this.#pruneNow().then(
      () => {
        this.#pruning = undefined;
        // Again, for those that were set meanwhile.
        this.#prune();
      },
      (error: unknown) => {
        this.#pruning = undefined;
        this.#logger.warn({ err: error }, 'old tags cannot be removed');
      },
    );
  }

  async #pruneNow(): Promise<void> {
    this.#atMost = 0;
    const files: { path: string; mtimeMs: number }[] = [];
    for await (const path of this.#files()) {
      if (path.endsWith('.json')) {
        const mtimeMs = (await stat(path).catch(() => undefined))?.mtimeMs;
        if (mtimeMs !== undefined) files.push({ path, mtimeMs });
      } else if (!path.includes(this.#own)) {
        await rm(path, { force: true });
      }
    }
    const excess = Math.max(0, files.length - Math.floor(this.#maxTags * 0.9));
    files.sort((a, b) => a.mtimeMs - b.mtimeMs);
    for (const { path } of files.slice(0, excess)) await rm(path, { force: true });
    this.#atMost += files.length - excess;
    if (excess > 0) this.#logger.info({ tags: files.length, removed: excess }, 'old tags removed');
  }

  #pathOf(key: string): string {
    const hex = createHash('sha256').update(key).digest('hex');
    return join(this.#folder, hex.slice(0, 2), `${hex}.json`);
  }
}

function keyOf({ registry, repository }: RepositoryName, tag: string): string {
  return `${registry}/${repository}:${tag}`;
}

/** The other way; no part but the registry has a `:` before the last `/`. */
function namesOf(key: string): Omit<NamedTag, 'record'> {
  const slash = key.indexOf('/');
  const colon = key.lastIndexOf(':');
  if (slash < 1 || colon < slash) throw new Error(`no name of a tag: ${JSON.stringify(key)}`);
  return {
    name: { registry: key.slice(0, slash), repository: key.slice(slash + 1, colon) },
    tag: key.slice(colon + 1),
  };
}

function nameIn(text: string): string {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || !('name' in value)) throw new Error('it has no name');
  return String(value.name);
}

/** @throws Error if that is not what `save` wrote for `key` */
function parse(text: string, key: string): TagRecord {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  const { name, digest, mediaType, sizeBytes, checkedAtMs } = value as Record<string, unknown>;
  if (name !== key) throw new Error(`it is the file of ${JSON.stringify(name)}`);
  if (
    typeof digest !== 'string' ||
    !isDigest(digest) ||
    typeof mediaType !== 'string' ||
    typeof sizeBytes !== 'number' ||
    !Number.isSafeInteger(sizeBytes) ||
    sizeBytes < 0 ||
    typeof checkedAtMs !== 'number' ||
    !Number.isFinite(checkedAtMs)
  ) {
    throw new Error('a field is missing or wrong');
  }
  return { digest, mediaType, sizeBytes, checkedAtMs };
}
