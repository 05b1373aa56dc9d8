import type { RepositoryName } from '../oci/reference.ts';
import type { NamedTag, TagRecord, TagStore } from './tag-store.ts';

/** Tags in memory, for tests and the demo. Unbounded. */
export class MemoryTagStore implements TagStore {
  readonly #records = new Map<string, NamedTag>();

  async get(name: RepositoryName, tag: string): Promise<TagRecord | undefined> {
    return this.#records.get(keyOf(name, tag))?.record;
  }

  async set(name: RepositoryName, tag: string, record: TagRecord): Promise<void> {
    this.#records.set(keyOf(name, tag), { name, tag, record: { ...record } });
  }

  async delete(name: RepositoryName, tag: string): Promise<boolean> {
    return this.#records.delete(keyOf(name, tag));
  }

  async list(max: number): Promise<readonly NamedTag[]> {
    return [...this.#records.values()].slice(0, max);
  }
}

/** Neither part can contain a space. */
function keyOf({ registry, repository }: RepositoryName, tag: string): string {
  return `${registry} ${repository} ${tag}`;
}
