import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import type { HolderIndex } from '../../routing/holder-index.ts';
import type { PeerId } from '../../routing/member.ts';
import type { Roster } from '../../routing/roster.ts';
import type { Timers } from '../../time/timers.ts';
import type { Complaints } from './complaints.ts';
import type { Entry } from './entry.ts';
import type { Grant } from './grants.ts';
import type { InlineBytes } from './inline-bytes.ts';
import type { Copy } from './messages.ts';
import type { Rates } from './rates.ts';

/** What a keeper says to others of its own accord. None of it is waited for but `recall`. */
export interface KeeperLinks {
  /** Asks the key's other keepers, and those of a side that was cut off until lately, what they know of it: 250 ms. */
  recall(key: string): Promise<readonly Copy[]>;
  /** Tells them what has changed; `soon`: a grant, else within a moment. */
  changed(entry: Entry, soon: boolean): void;
  /** Tells a writer that it has lost its right. Resolves with whether it knows now, or is dead. */
  revoke(peerId: PeerId, key: string, grant: string): Promise<boolean>;
}

/** What the rules of one key need of the whole keeper. */
export interface KeeperContext {
  readonly roster: Roster;
  readonly index: HolderIndex;
  readonly timers: Timers;
  readonly inline: InlineBytes;
  readonly complaints: Complaints;
  readonly rates: Rates;
  /** Who said lately, to all, that it holds a digest. */
  readonly heard: (digest: string) => readonly PeerId[];
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** An id that no keeper ever gave. */
  newId(): string;
  changed(entry: Entry, soon: boolean): void;
  /** The right was taken from a writer that may be alive. */
  revoked(entry: Entry, grant: Grant): void;
}

export type TakeoverReason = 'broken' | 'silent' | 'stalled' | 'slow' | 'shorter' | 'failed' | 'left';
