import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import type { HolderIndex } from '../../routing/holder-index.ts';
import type { PeerId } from '../../routing/member.ts';
import type { CallHandler, PeerCalls } from '../../routing/peer-calls.ts';
import type { Roster } from '../../routing/roster.ts';
import { systemTimers, type Timers } from '../../time/timers.ts';
import { Claimer } from './claimer.ts';
import { ClaimsHandler } from './claims-handler.ts';
import { Deputies } from './deputies.ts';
import { Keeper } from './keeper.ts';
import { KeeperCalls } from './keeper-calls.ts';
import { Rates } from './rates.ts';
import { RatesFile } from './rates-file.ts';

export interface ClaimsOptions {
  readonly roster: Roster;
  readonly calls: PeerCalls;
  readonly index: HolderIndex;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timers?: Timers;
  /** The most that a call to a keeper may take; by default 2 s. */
  readonly timeoutMs?: number | undefined;
  /**
   * Bytes a second: `peer.uploadRate`, else the most that this agent ever sent to all peers together. By this a claimer
   * shows that it has a better uplink than a writer.
   */
  readonly uplink?: () => number | undefined;
  /**
   * Bytes a second that its uplink carries, where that is known: `peer.uploadRate`, else what went out while it was full. By
   * this keepers choose between a tree and a chain. By default as `uplink`.
   */
  readonly carries?: () => number | undefined;
  /** Bytes a second: no less than that. By default nothing is known. */
  readonly carriesAtLeast?: () => number | undefined;
  /** Does this agent's uplink not carry what it gets? See UplinkStrain. By default no. */
  readonly isStrained?: () => boolean;
  /** Other agents that gossip named, lately, as holders of a digest: for a keeper that knows none. By default nobody. */
  readonly heard?: (digest: string) => readonly PeerId[];
  /** Where the rates of registries are kept over restarts; absent: nowhere. */
  readonly ratesPath?: string;
}

export interface ClaimsParts {
  /** For pulls of this node. */
  readonly claimer: Claimer;
  /** For status, and tests. */
  readonly keeper: Keeper;
  readonly rates: Rates;
  /** The CallHandler for path `claims`. */
  readonly handleClaims: CallHandler;
  /** Whom this agent does not ask, or not answer, now: what they said of claims made no sense. For the gauge. */
  leftOut(): readonly PeerId[];
  /** Gives up all leases, and tells the keepers. */
  stop(): Promise<void>;
}

/** An agent's claims: its own, and those that it keeps for others. */
export function createClaims(options: ClaimsOptions): ClaimsParts {
  const { roster, index, logger, metrics, timers = systemTimers } = options;
  const { uplink = () => undefined, isStrained = () => false, heard = () => [] } = options;
  const { carries = uplink } = options;
  const rates = new Rates(carries, options.carriesAtLeast);
  const calls = new KeeperCalls({
    roster,
    calls: options.calls,
    timers,
    timeoutMs: options.timeoutMs,
    logger,
    metrics,
  });
  const revoke = (key: string, grant: string): boolean => claimer.revoke(key, grant);
  const deputies = new Deputies({ roster, timers, calls, copyOf: (entry) => keeper.copy(entry), revokeHere: revoke });
  const keeper = new Keeper({ roster, index, timers, rates, heard, links: deputies, logger, metrics });
  const claimer: Claimer = new Claimer({
    roster,
    calls,
    keeper,
    timers,
    rates,
    uplink,
    isStrained,
    logger,
    metrics,
  });
  const handler = new ClaimsHandler({ roster, calls, keeper, timers, revoke, logger, metrics });
  const file =
    options.ratesPath === undefined ? undefined : new RatesFile(options.ratesPath, { rates, timers, logger });
  void file?.start();
  return {
    claimer,
    keeper,
    rates,
    handleClaims: (from, body, signal) => handler.handle(from, body, signal),
    leftOut: () => [...new Set([...calls.leftOut(), ...handler.leftOut()])],
    stop: async () => {
      await claimer.stop();
      keeper.stop();
      deputies.stop();
      await file?.stop();
    },
  };
}
