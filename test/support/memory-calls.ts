import { WindlassError } from '../../src/errors.ts';
import type { Member, PeerId } from '../../src/routing/member.ts';
import type { CallHandler, CallPath, PeerCalls } from '../../src/routing/peer-calls.ts';

/** Agents of one process that call each other's handlers: a network without wires, with everything counted. */
export class MemoryCalls {
  readonly #handlers = new Map<PeerId, Partial<Record<CallPath, CallHandler>>>();
  readonly #cut = new Set<PeerId>();
  readonly #hanging = new Set<PeerId>();
  readonly #underWay = new Map<PeerId, number>();
  /** How long each call takes. */
  delayMs = 0;
  /** Calls of one agent that were under way at once, at most. */
  mostAtOnce = 0;
  /** `from → to path type`, in order. */
  readonly log: string[] = [];

  /** An agent's view of the network. */
  join(self: PeerId, handlers: Partial<Record<CallPath, CallHandler>>): PeerCalls {
    this.#handlers.set(self, handlers);
    return {
      call: async (to: Member | string, path, body, { signal, timeoutMs }) => {
        const peerId = typeof to === 'string' ? to : to.peerId;
        const handler = this.#handlers.get(peerId)?.[path];
        const type = typeof body === 'object' && body !== null && 'type' in body ? String(body.type) : '';
        this.log.push(`${self} → ${peerId} ${path} ${type}`);
        const underWay = (this.#underWay.get(self) ?? 0) + 1;
        this.#underWay.set(self, underWay);
        this.mostAtOnce = Math.max(this.mostAtOnce, underWay);
        try {
          await this.#wait(peerId, signal, timeoutMs);
        } finally {
          this.#underWay.set(self, (this.#underWay.get(self) ?? 0) - 1);
        }
        signal.throwIfAborted();
        if (handler === undefined || this.#cut.has(peerId) || this.#cut.has(self)) {
          throw new WindlassError('PEER_GONE', `${peerId} is gone`);
        }
        // As on a wire: nobody gets hold of another's objects.
        return JSON.parse(JSON.stringify(await handler(self, JSON.parse(JSON.stringify(body)), signal)));
      },
    };
  }

  /** It takes calls, and never answers: they end with their time. */
  hang(peerId: PeerId): void {
    this.#hanging.add(peerId);
  }

  async #wait(peerId: PeerId, signal: AbortSignal, timeoutMs: number): Promise<void> {
    const hangs = this.#hanging.has(peerId);
    if (this.delayMs === 0 && !hangs) return;
    const ms = hangs ? timeoutMs : this.delayMs;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      const leave = () => {
        clearTimeout(timer);
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
    });
    if (hangs && !signal.aborted) throw new WindlassError('PEER_SILENT', `no answer from ${peerId} in ${ms} ms`);
  }

  leave(self: PeerId): void {
    this.#handlers.delete(self);
  }

  cut(peerId: PeerId): void {
    this.#cut.add(peerId);
  }

  heal(peerId: PeerId): void {
    this.#cut.delete(peerId);
  }

  count(what: string): number {
    return this.log.filter((line) => line.includes(what)).length;
  }
}
