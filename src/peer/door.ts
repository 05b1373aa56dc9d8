import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PeerId } from '../routing/member.ts';

/** A member of the cluster that asks something. */
export interface Guest {
  readonly peerId: PeerId;
  /** Is what came with the request its own? */
  hasSent(body: Uint8Array): boolean;
  /** Headers by which the answer is known to be ours. @param body undefined: of a stream, which has no seal. */
  seal(status: number, body: Uint8Array | undefined): Readonly<Record<string, string>>;
}

/** Tells members from strangers. One for TLS, one for networks that are encrypted below. */
export interface Door {
  /**
   * Who asks. Undefined: the door has answered itself (a challenge, or 401 and the connection's end).
   * Rejects only when this agent itself cannot know (its secrets are gone).
   */
  admit(request: IncomingMessage, response: ServerResponse): Promise<Guest | undefined>;
}

/** Nothing that tells who refused, or why. */
export function turnAway(request: IncomingMessage, response: ServerResponse): void {
  response.shouldKeepAlive = false;
  response.writeHead(401, { 'content-length': 0, connection: 'close' }).end();
  // What is still under way is read for a moment: unread bytes would make a reset of it, before the answer is seen.
  request.resume();
}
