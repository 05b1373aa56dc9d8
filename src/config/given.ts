import type { Fault } from './fault.ts';

/** A value that somebody gave, before it is checked. */
export interface Given {
  readonly value: unknown;
  /** Where: `flag --store.max-size`, `variable WINDLASS_STORE_MAX_SIZE`, `windlass.yaml:12`. */
  readonly origin: string;
}

/** What one source (flags, variables or the file) gives, by the settings' keys, and what is wrong in it. */
export interface Source {
  readonly given: ReadonlyMap<string, Given>;
  readonly faults: readonly Fault[];
  /** The file that `--config` or WINDLASS_CONFIG names. */
  readonly configFile?: Given | undefined;
}
