import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** More requests than this at once, on one connection, are not a client's. */
const MAX_WAITING = 32;

interface Queue {
  last: Promise<void>;
  waiting: number;
}

/**
 * The requests of one connection (HTTP pipelining), one after another. Node hands them all out at once, and tells
 * those behind the first neither that they may write nor that their client has left: each would hold its buffers
 * for as long as the first is not read.
 */
export class Turns {
  readonly #queues = new WeakMap<Socket, Queue>();

  /** Resolves when the requests before this one are answered: true; or the client left before: false. */
  async take(socket: Socket, response: ServerResponse): Promise<boolean> {
    const queue = this.#queues.get(socket) ?? { last: Promise.resolve(), waiting: 0 };
    this.#queues.set(socket, queue);
    if (queue.waiting >= MAX_WAITING) socket.destroy();
    const before = queue.last;
    // Of the one whose turn it is, the end is always told.
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    queue.last = before.then(() => (socket.destroyed ? undefined : closed));
    queue.waiting += 1;
    await before;
    queue.waiting -= 1;
    return !socket.destroyed;
  }
}
