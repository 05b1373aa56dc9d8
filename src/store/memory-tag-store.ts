import type { RepositoryName } from '../oci/reference.ts';
import type { TagRecord, TagStore } from './tag-store.ts';

/** Tags in memory, for tests and the demo. Unbounded. */
export class MemoryTagStore implements TagStore {
  readonly #records = new Map<string, TagRecord>();

  async get(name: RepositoryName, tag: string): Promise<TagRecord | undefined> {
    return this.#records.get(keyOf(name, tag));
  }

  async set(name: RepositoryName, tag: string, record: TagRecord): Promise<void> {
    this.#records.set(keyOf(name, tag), { ...record });
  }

  async delete(name: RepositoryName, tag: string): Promise<boolean> {
    return this.#records.delete(keyOf(name, tag));
  }
}

/** Neither part can contain a space. */
function keyOf({ registry, repository }: RepositoryName, tag: string): string {
  return `${registry} ${repository} ${tag}`;
}
