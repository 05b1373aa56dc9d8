import type { WindlassError } from '../errors.ts';
import type { PeerId } from '../routing/member.ts';
import type { FailedPeer } from './claims/messages.ts';

/** What comes next of one parent's stream. */
export type ParentStep =
  /** Verified. `start`: where in the blob. Not to be used after the next step was asked for. */
  | {
      readonly type: 'bytes';
      readonly start: number;
      readonly bytes: Uint8Array;
      readonly signer: PeerId;
      /** The parent is too slow to be one. */
      readonly slow: boolean;
    }
  /** Nothing came yet, and it is too slow to be waited for, if there is a better one. */
  | { readonly type: 'slow' }
  /** It says so itself: its uplink does not carry what it gets. */
  | { readonly type: 'strained' }
  | { readonly type: 'end' }
  /** It waits, and its own source has not moved for long: the keeper may know more. */
  | { readonly type: 'stalled' }
  /** Our seat is another's now. */
  | { readonly type: 'moved' }
  /** It signs for itself, which a relay may not: is it the writer by now? To be answered by `promote` or `leave`. */
  | { readonly type: 'unsure' }
  | {
      /** It is of no use any more. */
      readonly type: 'left';
      readonly why: FailedPeer['why'];
      /** No good peer does that. */
      readonly lied: boolean;
      /** It has another size than the manifest told: one of them lies. */
      readonly otherSize: boolean;
      readonly error: WindlassError;
    };
