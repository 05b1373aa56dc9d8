import type { Member, PeerId } from './member.ts';

export type CallPath = 'claims' | 'index' | 'roster' | 'purge';

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** The answer may be held back for long: others' turns are not to wait for such. */
  readonly held?: boolean;
}

/**
 * Small calls to other agents' data planes: JSON both ways, over kept-alive HTTP/1.1 (POST /windlass/v1/<path>),
 * both sides authenticated. The real ones are made in peer/; the simulation has its own.
 */
export interface PeerCalls {
  /**
   * @param to a member; or a bare `host:port` whose peer id is not known yet (the answer's sender is whoever proved
   *   to be a member of this cluster).
   * @param body anything JSON; at most MAX_CALL_BYTES as text.
   * @returns the answer's JSON, not yet checked: whoever calls validates it.
   * @throws PEER_GONE (refused, reset, no route), PEER_SILENT (no answer before the signal or the call's own bound),
   *   PEER_DENIED (it, or we, could not prove membership), PEER_BUSY (503, or NotAsked), PEER_NONSENSE; the signal's reason.
   */
  call(to: Member | string, path: CallPath, body: unknown, options: CallOptions): Promise<unknown>;
}

/** What answers such calls on the other side. Throw a WindlassError of the PEER_* codes to decline. */
export type CallHandler = (from: PeerId, body: unknown, signal: AbortSignal) => Promise<unknown>;

/** 100,000 digests of 32 bytes in base64, and some. */
export const MAX_CALL_BYTES = 8 * 1024 * 1024;
