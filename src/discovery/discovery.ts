/** Somewhere another agent may be. */
export interface Candidate {
  /** `host:port` of its libp2p listener; a host name is resolved when it is dialled. */
  readonly address: string;
  /** Where they are known (Kubernetes): of the agent at this address. */
  readonly zone?: string;
  readonly nodeName?: string;
  /** This agent itself, where discovery can tell. */
  readonly self?: boolean;
}

/** Finds where other agents may be, this one among them. Who they are, they say themselves once they are dialled. */
export interface Discovery {
  /**
   * Resolves at once; looks for others until `stop`.
   * @param listener gets all candidates, each time that they may have changed. What is not named any more is not there
   *   any more, as far as this kind of discovery knows. Not called while nothing was found out.
   */
  start(listener: (candidates: readonly Candidate[]) => void): Promise<void>;
  /** Afterwards the listener is called no more. Idempotent, and for one that never started too. */
  stop(): Promise<void>;
}
