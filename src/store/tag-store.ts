import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';

/** What a tag named when it was last checked upstream. */
export interface TagRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Wall clock of the last successful check, milliseconds. One in the future says that the clock was set back. */
  readonly checkedAtMs: number;
}

/** Tags, remembered across restarts. A record that cannot be read counts as absent. */
export interface TagStore {
  get(name: RepositoryName, tag: string): Promise<TagRecord | undefined>;
  set(name: RepositoryName, tag: string, record: TagRecord): Promise<void>;
  delete(name: RepositoryName, tag: string): Promise<boolean>;
  /** All of them, at most `max`, in no order; what is set or deleted meanwhile may be among them or not. */
  list(max: number): Promise<readonly NamedTag[]>;
}

export interface NamedTag {
  readonly name: RepositoryName;
  readonly tag: string;
  readonly record: TagRecord;
}
