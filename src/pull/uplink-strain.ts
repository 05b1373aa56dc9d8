import type { PeerId } from '../routing/member.ts';

const WINDOW_MS = 2_000;
/** Of what comes in: who sends on less cannot be a relay of all of it, not even in a chain. */
const SHARE = 0.7;
/** So far behind are the children, by what is sent in a second, and by bytes. */
const BEHIND_SECONDS = 1;
const BEHIND_BYTES = 2 * 1024 * 1024;
/** A child that lacks less has all but what is on its way. */
const LAGS_BYTES = 512 * 1024;
/** Of the time: who has so much to do waits for a processor, and not for its uplink. */
const BUSY_SHARE = 0.85;
/** Of the most that ever went out: an uplink that is not used is not what they wait for. */
const USED_SHARE = 0.6;
/** One that takes its bytes slowly says nothing of our uplink. */
const LEAST_PEERS = 2;
/** What a new child is sent fills the buffers of the system first, with some megabytes, whatever the uplink carries. */
const SETTLED_MS = 2_000;
/** Where others get more of it than this leaves, what the settled ones get is not what the uplink carries. */
const SETTLED_SHARE = 0.7;
/** An uplink is what it is for longer than a pull; and to be a leaf for nothing costs the others little. */
const STRAINED_MS = 600_000;

/** A blob on its way in, with those that it is sent to meanwhile. */
export interface Flow {
  /** The same object at each look. */
  readonly blob: object;
  readonly writtenBytes: number;
  /** The same objects at each look. */
  readonly children: readonly { readonly to: PeerId; readonly position: number }[];
}

/** What this process did, in all, since it began. */
export interface Done {
  /** Bytes to all children of whatever blob. */
  readonly sent: number;
  /** For so long its event loop was not idle. */
  readonly busyMs: number;
}

interface Look extends Done {
  readonly atMs: number;
  readonly received: number;
  /** To children that have been here for SETTLED_MS. */
  readonly settledSent: number;
  /** The children lag. */
  readonly behind: boolean;
}

type Child = Flow['children'][number];

/**
 * Does this node get more than it can send on? Nobody else sees that as soon: a child gets its share of an uplink, and
 * does not know of how many. All blobs on their way through are looked at together:
 *
 * ```
 *   strained: for WINDOW_MS less than SHARE of what came in went out,
 *             it is most of what ever went out, and the event loop was idle for some of it,
 *             the best child of each blob lags, together by a second's sending and by BEHIND_BYTES,
 *             and children on LEAST_PEERS nodes do
 * ```
 * In a chain on links of one rate as much goes out as comes in, and in a tree more. Who was strained is taken to be for
 * STRAINED_MS: it then has no children whose lagging could show it.
 */
export class UplinkStrain {
  readonly #uplink: () => number | undefined;
  readonly #looks: Look[] = [];
  #children: ReadonlyMap<Child, { readonly sinceMs: number; readonly position: number }> = new Map();
  #settledSent = 0;
  #carries: number | undefined;
  #carriesAtLeast: number | undefined;
  readonly #written = new Map<object, number>();
  #received = 0;
  #untilMs = Number.NEGATIVE_INFINITY;

  /** @param uplink bytes a second that this agent can send, or the most that it ever sent; undefined: not known */
  constructor(uplink: () => number | undefined = () => undefined) {
    this.#uplink = uplink;
  }

  isStrained(nowMs: number): boolean {
    return nowMs < this.#untilMs;
  }

  /**
   * Bytes a second: the most that settled children got for WINDOW_MS in which the uplink was full, as they waited for all of
   * it. Undefined until that was so. What goes out otherwise is what was asked for, or what the system's buffers took: at 12.5
   * Mbit/s several times what a link carries. Nor is it known by an uplink that is strained: others have better ones.
   */
  get carries(): number | undefined {
    return this.#carries;
  }

  /** Bytes a second: the most that settled children ever got for WINDOW_MS. The uplink carries that, or more. */
  get carriesAtLeast(): number | undefined {
    return this.#carriesAtLeast;
  }

  /**
   * To be called some times a second while there are flows, in order of time.
   * @returns whether it is strained as of now.
   */
  look(nowMs: number, done: Done, flows: readonly Flow[]): boolean {
    this.#count(flows);
    const looks = this.#looks;
    const lags = lagOf(flows);
    this.#countSettled(nowMs, flows);
    const behind = lags.bytes >= BEHIND_BYTES && lags.peers >= LEAST_PEERS;
    const now: Look = { ...done, atMs: nowMs, received: this.#received, settledSent: this.#settledSent, behind };
    // After a pause it begins anew.
    if (nowMs - (looks.at(-1)?.atMs ?? nowMs) > WINDOW_MS) looks.length = 0;
    looks.push(now);
    while ((looks[1]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs - WINDOW_MS) looks.shift();
    const [first = now] = looks;
    const windowMs = nowMs - first.atMs;
    if (windowMs < WINDOW_MS || now.busyMs - first.busyMs > BUSY_SHARE * windowMs) return false;
    const sent = now.sent - first.sent;
    const isEnough = sent >= SHARE * (now.received - first.received);
    this.#learn(now.settledSent - first.settledSent, sent, windowMs, isEnough && !this.isStrained(nowMs));
    if (isEnough) return false;
    if ((1000 * sent) / windowMs < USED_SHARE * (this.#uplink() ?? 0)) return false;
    const behindBytes = Math.max(BEHIND_BYTES, (BEHIND_SECONDS * 1000 * sent) / windowMs);
    if (lags.bytes < behindBytes || lags.peers < LEAST_PEERS) return false;
    this.#untilMs = nowMs + STRAINED_MS;
    return true;
  }

  #learn(settledSent: number, sent: number, windowMs: number, isGood: boolean): void {
    if (settledSent <= 0) return;
    const rate = (1000 * settledSent) / windowMs;
    this.#carriesAtLeast = Math.max(this.#carriesAtLeast ?? 0, rate);
    const isFull = this.#looks.every(({ behind }) => behind);
    if (isFull && isGood && settledSent >= SETTLED_SHARE * sent) this.#carries = Math.max(this.#carries ?? 0, rate);
  }

  #countSettled(nowMs: number, flows: readonly Flow[]): void {
    const children = new Map<Child, { readonly sinceMs: number; readonly position: number }>();
    for (const child of flows.flatMap((flow) => flow.children)) {
      const { position } = child;
      const before = this.#children.get(child) ?? { sinceMs: nowMs, position };
      if (nowMs - before.sinceMs >= SETTLED_MS) this.#settledSent += Math.max(0, position - before.position);
      children.set(child, { sinceMs: before.sinceMs, position });
    }
    this.#children = children;
  }

  /** What came since the look before; of a blob that is new, nothing is known of that. */
  #count(flows: readonly Flow[]): void {
    for (const { blob, writtenBytes } of flows) {
      this.#received += Math.max(0, writtenBytes - (this.#written.get(blob) ?? writtenBytes));
    }
    this.#written.clear();
    for (const { blob, writtenBytes } of flows) this.#written.set(blob, writtenBytes);
  }
}

interface Lags {
  /** The best child's, of all blobs together. */
  readonly bytes: number;
  readonly peers: number;
}

function lagOf(flows: readonly Flow[]): Lags {
  let bytes = 0;
  const peers = new Set<PeerId>();
  for (const { writtenBytes, children } of flows) {
    let best = 0;
    for (const { to, position } of children) {
      best = Math.max(best, position);
      if (writtenBytes - position >= LAGS_BYTES) peers.add(to);
    }
    bytes += Math.max(0, writtenBytes - best);
  }
  return { bytes, peers: peers.size };
}
