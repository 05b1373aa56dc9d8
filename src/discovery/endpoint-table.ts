import { formatListenAddress } from '../config/listen-address.ts';
import type { Candidate } from './discovery.ts';
import type { Endpoint, EndpointSlice } from './endpoint-slice.ts';

/** An agent that goes down still answers for what it keeps; design.md. */
export const TERMINATING_MS = 60_000;

export interface EndpointTableOptions {
  /** A number, or the name that it has in the Service. */
  readonly port: number | string;
  /** The name of this agent's own node. */
  readonly nodeName: string;
  /** IP addresses of this machine, or of this Pod; looked at each time. */
  readonly ownAddresses: () => ReadonlySet<string>;
}

interface Leaving {
  readonly candidate: Candidate;
  readonly untilMs: number;
}

type State = 'serving' | 'terminating' | 'down';
interface Seen {
  readonly candidate: Candidate;
  readonly state: State;
}

/**
 * The slices of one Service, put together: who of its endpoints is a candidate now.
 *
 * ```
 *             serving                    terminating                   60 s over
 *  (unknown) ─────────▶ candidate ──────────────────▶ still candidate ──────────▶ none, as long as it terminates
 *      ▲                  │    ▲                          │   │
 *      │ not serving,     │    └── serving again: a new ──┘   │ gone from the slices: stays for what is left
 *      └── or gone ───────┘        Pod at this address        └─▶ of the 60 s
 * ```
 *
 * An endpoint that is in two slices while it is moved counts once, as the better of both. This agent's own is always
 * a candidate.
 */
export class EndpointTable {
  readonly #options: EndpointTableOptions;
  readonly #slices = new Map<string, EndpointSlice>();
  /** By address; those whose time is over too, while their endpoints are there: or their time would begin anew. */
  readonly #leaving = new Map<string, Leaving>();
  /** As found last, by address; those that leave not among them. */
  #serving = new Set<string>();

  constructor(options: EndpointTableOptions) {
    this.#options = options;
  }

  /** All slices, in place of those before. */
  replace(slices: readonly EndpointSlice[]): void {
    this.#slices.clear();
    for (const slice of slices) this.set(slice);
  }

  set(slice: EndpointSlice): void {
    this.#slices.set(slice.name, slice);
  }

  remove(name: string): void {
    this.#slices.delete(name);
  }

  /** Endpoints that there are, and no port for them: the Service does not have the one that is set. */
  get lacksPort(): boolean {
    const slices = [...this.#slices.values()].filter(({ endpoints }) => endpoints.length > 0);
    return slices.length > 0 && slices.every((slice) => this.#portOf(slice) === undefined);
  }

  /** Sorted by address. @returns when they change by themselves, if they do */
  candidates(nowMs: number): { readonly candidates: readonly Candidate[]; readonly untilMs: number | undefined } {
    const seen = this.#seen();
    this.#followLeaving(seen, nowMs);
    const serving = [...seen].filter(([, { candidate, state }]) => state === 'serving' || candidate.self === true);
    this.#serving = new Set(serving.map(([address]) => address));
    const leaving = [...this.#leaving.values()].filter(({ untilMs }) => untilMs > nowMs);
    const all = new Map([
      ...leaving.map(({ candidate }) => [candidate.address, candidate] as const),
      ...serving.map(([address, { candidate }]) => [address, candidate] as const),
    ]);
    return {
      candidates: [...all.values()].sort((a, b) => (a.address < b.address ? -1 : 1)),
      untilMs: leaving.length === 0 ? undefined : Math.min(...leaving.map(({ untilMs }) => untilMs)),
    };
  }

  /** Whose time begins, and who is through. */
  #followLeaving(seen: ReadonlyMap<string, Seen>, nowMs: number): void {
    for (const [address, { candidate, state }] of seen) {
      if (state === 'serving') this.#leaving.delete(address);
      if (state === 'terminating' && !this.#leaving.has(address)) {
        this.#leaving.set(address, { candidate, untilMs: nowMs + TERMINATING_MS });
      }
    }
    for (const [address, { untilMs }] of this.#leaving) {
      if (untilMs <= nowMs && seen.get(address)?.state !== 'terminating') this.#leaving.delete(address);
    }
  }

  #seen(): ReadonlyMap<string, Seen> {
    const isOwn = this.#ownEndpoints();
    const best = new Map<string, Seen>();
    for (const slice of this.#slices.values()) {
      const port = this.#portOf(slice);
      if (port === undefined) continue;
      for (const endpoint of slice.endpoints) {
        const candidate = candidateOf(endpoint, port, isOwn(endpoint));
        const known = best.get(candidate.address);
        const state = this.#stateOf(endpoint, candidate.address);
        if (known === undefined || RANK[state] < RANK[known.state]) best.set(candidate.address, { candidate, state });
      }
    }
    return best;
  }

  /** One that terminates, and has not served as far as is known, never was a candidate, and is none now. */
  #stateOf({ serving, terminating }: Endpoint, address: string): State {
    if (!terminating) return serving ? 'serving' : 'down';
    return serving || this.#serving.has(address) || this.#leaving.has(address) ? 'terminating' : 'down';
  }

  /**
   * By address first: that is a fact, while `node.name` is what somebody wrote (or the host name, which in a Pod is the
   * Pod's). By node where no address fits, as behind a NAT. The zone is right either way.
   */
  #ownEndpoints(): (endpoint: Endpoint) => boolean {
    const own = this.#options.ownAddresses();
    const endpoints = [...this.#slices.values()].flatMap((slice) => slice.endpoints);
    if (endpoints.some(({ host }) => own.has(host))) return ({ host }) => own.has(host);
    return ({ nodeName, terminating }) => nodeName === this.#options.nodeName && !terminating;
  }

  #portOf({ ports }: EndpointSlice): number | undefined {
    const { port } = this.#options;
    return typeof port === 'number' ? port : ports.get(port);
  }
}

const RANK: Record<State, number> = { serving: 0, terminating: 1, down: 2 };

function candidateOf({ host, nodeName, zone }: Endpoint, port: number, self: boolean): Candidate {
  return {
    address: formatListenAddress({ host, port }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(self ? { self } : {}),
  };
}
