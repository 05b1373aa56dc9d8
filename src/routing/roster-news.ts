import type { Timers } from '../time/timers.ts';
import type { PeerId } from './member.ts';
import type { MemberEntry, Sign, Verify } from './member-entry.ts';
import { type Death, MAX_NEWS, MAX_NEWS_BYTES, newsEnvelopeSchema, newsSchema } from './roster-messages.ts';

const CONTEXT = 'windlass-news/1\0';
const BATCH_MS = 200;
const MAX_WAITING = 1_000;
/** Of entries in one message; with quotes escaped, twice, it stays below what gossip carries (64 KiB). */
const BATCH_CHARS = 32 * 1024;

/** Tells all members, or as many as it reaches. May lose everything. */
export interface NewsChannel {
  publish(bytes: Uint8Array): void;
  /** @returns unsubscribe */
  subscribe(listener: (bytes: Uint8Array) => void): () => void;
}

export interface ReadNews {
  readonly from: PeerId;
  readonly entries: readonly { readonly entry: string; readonly signature: string }[];
  /** Not there where the signature is not that of `from`. */
  readonly dead: readonly Death[];
}

export interface RosterNewsOptions {
  readonly selfId: PeerId;
  readonly sign: Sign;
  readonly verify: Verify;
  readonly timers: Timers;
}

/** Who came and went, told to all in batches: one message each 200 ms at most. What waits too long is dropped. */
export class RosterNews {
  readonly #channel: NewsChannel;
  readonly #options: RosterNewsOptions;
  readonly #entries = new Map<PeerId, MemberEntry>();
  readonly #dead = new Map<PeerId, Death>();
  #cancel: (() => void) | undefined;

  constructor(channel: NewsChannel, options: RosterNewsOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  tell(entry: MemberEntry): void {
    if (this.#entries.size < MAX_WAITING) this.#entries.set(entry.member.peerId, entry);
    this.#soon();
  }

  tellDead(death: Death): void {
    if (this.#dead.size < MAX_WAITING) this.#dead.set(death[0], death);
    this.#soon();
  }

  /** Somebody else has told this entry meanwhile. */
  wasTold(entry: string): void {
    for (const [peerId, { signed }] of this.#entries) if (signed.entry === entry) this.#entries.delete(peerId);
  }

  /** What waits goes out now. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const entries = this.#batch();
    const dead = [...this.#dead.values()].slice(0, MAX_NEWS);
    if (entries.length === 0 && dead.length === 0) return;
    for (const { member } of entries) this.#entries.delete(member.peerId);
    for (const [peerId] of dead) this.#dead.delete(peerId);
    const text = JSON.stringify({ entries: entries.map(({ signed }) => signed), dead });
    const { selfId, sign } = this.#options;
    const signature = Buffer.from(sign(bytesOf(text))).toString('base64url');
    this.#channel.publish(Buffer.from(JSON.stringify({ from: selfId, text, signature })));
    if (this.#entries.size > 0 || this.#dead.size > 0) this.#soon();
  }

  /** Undefined where it makes no sense. Only deaths need the teller's signature: entries carry their own. */
  read(bytes: Uint8Array): ReadNews | undefined {
    if (bytes.length > 2 * MAX_NEWS_BYTES) return undefined;
    try {
      const { from, text, signature } = newsEnvelopeSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
      const { entries, dead } = newsSchema.parse(JSON.parse(text));
      const genuine = dead.length > 0 && this.#options.verify(from, bytesOf(text), Buffer.from(signature, 'base64url'));
      return { from, entries, dead: genuine ? dead : [] };
    } catch {
      return undefined;
    }
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#entries.clear();
    this.#dead.clear();
  }

  /** As many as one message takes. */
  #batch(): MemberEntry[] {
    const batch: MemberEntry[] = [];
    let chars = 0;
    for (const entry of this.#entries.values()) {
      chars += entry.signed.entry.length;
      if (batch.length >= MAX_NEWS || (batch.length > 0 && chars > BATCH_CHARS)) break;
      batch.push(entry);
    }
    return batch;
  }

  #soon(): void {
    this.#cancel ??= this.#options.timers.after(BATCH_MS, () => {
      this.#cancel = undefined;
      this.flush();
    });
  }
}

function bytesOf(text: string): Uint8Array {
  return Buffer.from(CONTEXT + text);
}
