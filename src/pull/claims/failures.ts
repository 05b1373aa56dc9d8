import type { PeerId } from '../../routing/member.ts';

/** Of one key; a node that claims with made-up sources must not fill the memory. */
const MAX_SOURCES = 16;
const WRONG_MS = 30_000;
const MAX_RETRY_AFTER_MS = 600_000;

/**
 * How long upstream's answer stands for all that ask with the same source. Long enough that a herd asks once, short
 * enough that what was pushed, or granted, a moment later is found. What is not listed may be the fault of the node
 * that asked, and stands from the second node's failure on.
 */
const STANDS_MS: Readonly<Record<string, number>> = {
  NOT_FOUND: 5_000,
  UPSTREAM_UNAUTHORIZED: 5_000,
  REGISTRY_DENIED: 5_000,
  UPSTREAM_RATE_LIMITED: 5_000,
};
const OTHERS_STAND_MS = 3_000;
/** Said of who asks, or of whether it exists: goes before what peers have, lest a claim opens what upstream would not. */
const ABOUT_ACCESS: ReadonlySet<string> = new Set(['NOT_FOUND', 'UPSTREAM_UNAUTHORIZED', 'REGISTRY_DENIED']);

export interface Failed {
  readonly code: string;
  readonly message: string;
  readonly upstreamStatus?: number | undefined;
  readonly retryAfterMs?: number | undefined;
}

export interface Failure extends Failed {
  readonly source: string;
  readonly untilMs: number;
  /** Who was told so by upstream; of what may be a node's own fault, it takes two. Empty: somebody else counted. */
  readonly by: ReadonlySet<PeerId>;
  readonly standsForAll: boolean;
}

/** What upstream refused, of one key, by source: what it says to one says nothing of another. */
export class Failures {
  readonly #bySource = new Map<string, Failure>();

  /** @param nodes how many could try: alone, one failure is all there is to know. */
  add(source: string, failed: Failed, by: PeerId, nodes: number, nowMs: number): void {
    const before = this.of(source, nowMs);
    const all = new Set([...(before?.by ?? []), by]);
    const standsMs = failed.code === 'DIGEST_MISMATCH' ? WRONG_MS : (STANDS_MS[failed.code] ?? OTHERS_STAND_MS);
    const restMs = Math.min(failed.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
    this.#set({
      ...failed,
      source,
      untilMs: nowMs + Math.max(standsMs, restMs),
      by: all,
      standsForAll: failed.code in STANDS_MS || all.size >= Math.min(2, nodes),
    });
  }

  /** Told by another keeper. */
  adopt(source: string, failed: Failed, leftMs: number, nowMs: number): void {
    if (this.of(source, nowMs) !== undefined) return;
    const restMs = Math.min(leftMs, MAX_RETRY_AFTER_MS);
    this.#set({ ...failed, source, untilMs: nowMs + restMs, by: new Set(), standsForAll: true });
  }

  /** What a claim of this node with this source is to be told; undefined where it may try. */
  for(source: string, peerId: PeerId, nowMs: number): Failure | undefined {
    const failure = this.of(source, nowMs);
    return failure !== undefined && (failure.standsForAll || failure.by.has(peerId)) ? failure : undefined;
  }

  static isAboutAccess({ code }: Failed): boolean {
    return ABOUT_ACCESS.has(code);
  }

  of(source: string, nowMs: number): Failure | undefined {
    const failure = this.#bySource.get(source);
    return failure !== undefined && failure.untilMs > nowMs ? failure : undefined;
  }

  /** @returns those that still stand; the others are forgotten. */
  current(nowMs: number): Failure[] {
    for (const { source, untilMs } of this.#bySource.values()) if (untilMs <= nowMs) this.#bySource.delete(source);
    return [...this.#bySource.values()];
  }

  /** Its bytes are here, so whatever was said of it is past. */
  forget(source: string): void {
    this.#bySource.delete(source);
  }

  #set(failure: Failure): void {
    this.#bySource.delete(failure.source);
    this.#bySource.set(failure.source, failure);
    const oldest = this.#bySource.keys().next();
    if (this.#bySource.size > MAX_SOURCES && !oldest.done) this.#bySource.delete(oldest.value);
  }
}
