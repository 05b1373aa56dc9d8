/** Bytes of which some were taken already. Good until whoever gave it goes on: its buffer is used again. */
export interface Input {
  readonly bytes: Uint8Array;
  /** The first that was not taken yet. */
  at: number;
  /** Just past the last one that may be taken. */
  end: number;
}
