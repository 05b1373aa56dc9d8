/** What became of a file. */
export interface Outcome {
  readonly path: string;
  /** `fine`: somebody else has seen to it. `skipped`: it cannot be, and `why`. `left`: not as it should be, and `why`. */
  readonly kind: 'written' | 'unchanged' | 'fine' | 'restored' | 'removed' | 'skipped' | 'left';
  readonly why?: string;
}

export function left(path: string, why: string): Outcome {
  return { path, kind: 'left', why };
}
