import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** One connection of so many may be a stranger's while members' have to be closed. */
const STRANGERS = 16;

interface Member {
  readonly socket: Socket;
  /** Requests under way. */
  requests: number;
}

/**
 * A ceiling on connections. At the ceiling one in 16 may be strangers': of more, the one that has been here longest makes
 * room for a new one, so that they cannot keep members out; of less, as members are strangers too until they have asked
 * something, the member's that was not used for longest: its other end opens another when it needs one, and who could not
 * come in would take this agent for dead. If all are in use, the new one is closed.
 */
export class Ceiling {
  readonly #max: number;
  /** By their last use. */
  readonly #members = new Map<string, Member>();
  /** In the order of their coming. TLS hides the socket below it: the other side's address and port name both. */
  readonly #strangers = new Map<string, Socket>();

  constructor(max: number) {
    this.#max = max;
  }

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#opened(socket));
  }

  /** Its other end has proved to be a member, and asks something. @returns to be called when that was answered. */
  admitted(socket: Socket): () => void {
    const name = nameOf(socket);
    const stranger = this.#strangers.get(name);
    const member = stranger === undefined ? this.#members.get(name) : { socket: stranger, requests: 0 };
    // It is closed by now.
    if (member === undefined) return () => {};
    this.#strangers.delete(name);
    member.requests += 1;
    this.#usedNow(name, member);
    return () => {
      member.requests -= 1;
      if (this.#members.get(name) === member) this.#usedNow(name, member);
    };
  }

  closeStrangers(): void {
    for (const socket of this.#strangers.values()) socket.destroy();
  }

  #opened(socket: Socket): void {
    if (this.#members.size + this.#strangers.size >= this.#max && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    this.#strangers.set(name, socket);
    socket.once('close', () => {
      if (this.#strangers.get(name) === socket) this.#strangers.delete(name);
      if (this.#members.get(name)?.socket === socket) this.#members.delete(name);
    });
  }

  #makeRoom(): boolean {
    const few = this.#strangers.size < Math.max(1, this.#max / STRANGERS);
    return few ? this.#closeIdle() || this.#closeStranger() : this.#closeStranger();
  }

  #closeStranger(): boolean {
    for (const [name, socket] of this.#strangers) {
      this.#strangers.delete(name);
      socket.destroy();
      return true;
    }
    return false;
  }

  #closeIdle(): boolean {
    for (const [name, { socket, requests }] of this.#members) {
      if (requests > 0) continue;
      this.#members.delete(name);
      socket.destroy();
      return true;
    }
    return false;
  }

  #usedNow(name: string, member: Member): void {
    this.#members.delete(name);
    this.#members.set(name, member);
  }
}

function nameOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
