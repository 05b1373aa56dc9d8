/** What the space needs to know of the store, and of the disk below it. */
export interface SpaceSource {
  /** Bytes in use apart from reservations: committed, lingering, left over. */
  usedBytes(): number;
  /** Bytes that may still be written before the file system's floor is reached. May be negative. */
  freeBytes(): Promise<number>;
  /** Frees at least that many bytes, or (unless `orLess`) nothing at all. @returns whether it did */
  evict(bytes: number, options?: { readonly orLess?: boolean }): Promise<boolean>;
}

/** A writer's claim to space: what it wrote, and what it may write yet. Only Space makes it larger; its writer may shrink it. */
export interface Reservation {
  bytes: number;
  /** Of these, the ones that are in the file: the file system knows of them. */
  writtenBytes: number;
}

export type Refusal = { readonly reason: 'quota' | 'floor'; readonly missingBytes: number };

/**
 * Who may still write how much: the quota, and the floor of free space below it.
 *
 * Reservations are granted one at a time, so that two that ask at once never get the same bytes, and what was
 * promised but is not written yet is taken off what the file system calls free.
 */
export class Space {
  readonly maxBytes: number;
  readonly #source: SpaceSource;
  readonly #reservations = new Set<Reservation>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(maxBytes: number, source: SpaceSource) {
    this.maxBytes = maxBytes;
    this.#source = source;
  }

  /** Bytes of all reservations. */
  get reservedBytes(): number {
    let sum = 0;
    for (const reservation of this.#reservations) sum += reservation.bytes;
    return sum;
  }

  /** Takes note of a file that is there already (`bytes` of it), with nothing reserved beyond. */
  open(bytes: number): Reservation {
    const reservation = { bytes, writtenBytes: bytes };
    this.#reservations.add(reservation);
    return reservation;
  }

  /**
   * Grows a reservation to `needBytes` in all, evicting if need be; and on to `wantBytes` if that costs nobody
   * anything. @returns undefined if granted
   */
  grow(reservation: Reservation, needBytes: number, wantBytes = needBytes): Promise<Refusal | undefined> {
    const turn = this.#turn.then(() => this.#grow(reservation, needBytes, wantBytes));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** The file system said that it is full, whatever we believed: frees `bytes`. @returns whether it did */
  squeeze(bytes: number): Promise<boolean> {
    const turn = this.#turn.then(() => this.#source.evict(bytes));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Others fill the disk too: gives up what it takes, or all there is, to have the floor free again. */
  keepFloor(): Promise<void> {
    const turn = this.#turn.then(async () => {
      const freeBytes = await this.#source.freeBytes();
      // Not known is no reason to give up everything.
      if (freeBytes < 0 && Number.isFinite(freeBytes)) await this.#source.evict(-freeBytes, { orLess: true });
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  close(reservation: Reservation): void {
    this.#reservations.delete(reservation);
  }

  async #grow(reservation: Reservation, needBytes: number, wantBytes: number): Promise<Refusal | undefined> {
    if (!this.#reservations.has(reservation) || needBytes <= reservation.bytes) return undefined;
    // Taken before the file system is asked: what is written meanwhile counts twice, never not at all.
    const promisedBytes = this.#promisedBytes();
    const freeBytes = (await this.#source.freeBytes()) - promisedBytes;
    const more = needBytes - reservation.bytes;
    const overQuota = more - this.#quotaLeft();
    const overFloor = more - freeBytes;
    const missingBytes = Math.max(overQuota, overFloor);
    if (missingBytes > 0) {
      const reason = overQuota >= overFloor ? 'quota' : 'floor';
      if (needBytes > this.maxBytes || !(await this.#source.evict(missingBytes))) return { reason, missingBytes };
      // The quota is exact, so it is looked at again; the floor is a guard, and is looked at by the next to ask.
      const still = more - this.#quotaLeft();
      if (still > 0) return { reason: 'quota', missingBytes: still };
      reservation.bytes = needBytes;
      return undefined;
    }
    const spare = Math.max(0, Math.min(-missingBytes, wantBytes - needBytes));
    reservation.bytes = needBytes + spare;
    return undefined;
  }

  #quotaLeft(): number {
    return this.maxBytes - this.#source.usedBytes() - this.reservedBytes;
  }

  #promisedBytes(): number {
    let sum = 0;
    for (const { bytes, writtenBytes } of this.#reservations) sum += Math.max(0, bytes - writtenBytes);
    return sum;
  }
}
