import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * A ceiling on open connections. At the ceiling the connection that has been idle longest is closed for a new
 * one; one with a request under way never is. If all are busy, the new one is closed.
 */
export class Connections {
  /** Idle ones, the longest idle first. */
  readonly #idle = new Set<Socket>();
  readonly #busy = new Map<Socket, number>();
  readonly #max: number;
  readonly #onChange: (open: number) => void;
  readonly #onDrop: () => void;

  constructor(max: number, callbacks: { readonly onChange: (open: number) => void; readonly onDrop: () => void }) {
    this.#max = max;
    this.#onChange = callbacks.onChange;
    this.#onDrop = callbacks.onDrop;
  }

  get open(): number {
    return this.#idle.size + this.#busy.size;
  }

  watch(server: Server): void {
    server.on('connection', (socket) => this.#opened(socket));
    server.on('request', (request, response) => this.#requested(request.socket, response));
  }

  #opened(socket: Socket): void {
    if (this.open >= this.#max) {
      this.#onDrop();
      const [oldest] = this.#idle;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      this.#idle.delete(oldest);
      oldest.destroy();
    }
    this.#idle.add(socket);
    this.#onChange(this.open);
    socket.once('close', () => {
      this.#idle.delete(socket);
      this.#busy.delete(socket);
      this.#onChange(this.open);
    });
  }

  #requested(socket: Socket, response: ServerResponse): void {
    if (socket.destroyed) return;
    this.#idle.delete(socket);
    this.#busy.set(socket, (this.#busy.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const left = (this.#busy.get(socket) ?? 1) - 1;
      if (left > 0) {
        this.#busy.set(socket, left);
        return;
      }
      this.#busy.delete(socket);
      if (!socket.destroyed) this.#idle.add(socket);
    });
  }
}
