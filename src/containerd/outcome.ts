/** What became of a file. */
export interface Outcome {
  readonly path: string;
  /** `fine`: somebody else has seen to it. `left`: not as it should be, and `why`. */
  readonly kind: 'written' | 'unchanged' | 'fine' | 'restored' | 'removed' | 'left';
  readonly why?: string;
}

export function left(path: string, why: string): Outcome {
  return { path, kind: 'left', why };
}
