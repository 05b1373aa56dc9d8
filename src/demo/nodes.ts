import type { AgentStatus } from '../status/agent-status.ts';
import type { AgentProcess } from './agent-process.ts';

const LOOK_MS = 100;
const QUIET_MS = 10_000;

/** What a node has got since the watch began, and where from. */
export interface NodeReport {
  readonly name: string;
  readonly upstreamBytes: number;
  readonly peerBytes: number;
  readonly heldBytes: number;
  /** What other nodes got from it. */
  readonly sentBytes: number;
  readonly killed: boolean;
}

/** Looks at the agents' own figures, again and again. Of one that was killed its last ones stay. */
export class NodesWatch implements Disposable {
  readonly #agents: readonly AgentProcess[];
  readonly #before = new Map<AgentProcess, AgentStatus>();
  readonly #latest = new Map<AgentProcess, AgentStatus>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  private constructor(agents: readonly AgentProcess[]) {
    this.#agents = agents;
  }

  static async start(agents: readonly AgentProcess[]): Promise<NodesWatch> {
    const watch = new NodesWatch(agents);
    await watch.#lookOnce();
    for (const [agent, status] of watch.#latest) watch.#before.set(agent, status);
    watch.#timer = setInterval(() => void watch.#lookOnce(), LOOK_MS);
    return watch;
  }

  /** Brings the figures up to date, and waits (in vain for `QUIET_MS`) until no agent writes any more. */
  async untilQuiet(): Promise<void> {
    const startedMs = performance.now();
    do {
      await this.#looking;
      await this.#lookOnce();
    } while (this.#isBusy() && performance.now() - startedMs < QUIET_MS);
  }

  #isBusy(): boolean {
    return this.#agents.some((agent) => agent.isAlive && (this.#latest.get(agent)?.transfers.length ?? 0) > 0);
  }

  async #lookOnce(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  latest(agent: AgentProcess): AgentStatus | undefined {
    return this.#latest.get(agent);
  }

  reports(): NodeReport[] {
    return this.#agents.map((agent) => {
      const now = this.#latest.get(agent);
      const before = this.#before.get(agent);
      const since = (read: (status: AgentStatus) => number): number => {
        return (now === undefined ? 0 : read(now)) - (before === undefined ? 0 : read(before));
      };
      return {
        name: agent.name,
        upstreamBytes: since(({ totals }) => totals.upstreamBytes),
        peerBytes: since(({ totals }) => totals.peerReceivedBytes),
        heldBytes: since(({ store }) => store.sizeBytes),
        sentBytes: since(({ totals }) => totals.peerSentBytes),
        killed: !agent.isAlive,
      };
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    await Promise.all(
      this.#agents.map(async (agent) => {
        const status = await agent.status();
        if (status !== undefined) this.#latest.set(agent, status);
      }),
    );
  }
}
