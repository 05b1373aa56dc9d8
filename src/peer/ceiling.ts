import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * A ceiling on connections. At the ceiling the stranger that has been here longest makes room for a new one: they
 * cannot keep members out. If all are members', the new one is closed.
 */
export class Ceiling {
  readonly #max: number;
  readonly #members = new Set<string>();
  /** In the order of their coming. TLS hides the socket below it: the other side's address and port name both. */
  readonly #strangers = new Map<string, Socket>();

  constructor(max: number) {
    this.#max = max;
  }

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#opened(socket));
  }

  /** Its other end has proved to be a member. */
  admitted(socket: Socket): void {
    const name = nameOf(socket);
    if (this.#strangers.delete(name)) this.#members.add(name);
  }

  closeStrangers(): void {
    for (const socket of this.#strangers.values()) socket.destroy();
  }

  #opened(socket: Socket): void {
    if (this.#members.size + this.#strangers.size >= this.#max) {
      const [oldest] = this.#strangers;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      this.#strangers.delete(oldest[0]);
      oldest[1].destroy();
    }
    const name = nameOf(socket);
    this.#strangers.set(name, socket);
    socket.once('close', () => {
      if (this.#strangers.get(name) === socket) this.#strangers.delete(name);
      else this.#members.delete(name);
    });
  }
}

function nameOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
