export const MEMBERSHIP_PROTOCOL = '/windlass/tls/1';

/** What every member says first when it dials: libp2p's protocol selection, which asks for ours alone. */
const OPENING = Buffer.concat(
  ['/multistream/1.0.0\n', `${MEMBERSHIP_PROTOCOL}\n`].map((line) =>
    Buffer.concat([Buffer.from([line.length]), Buffer.from(line)]),
  ),
);

/** Tells from the first bytes of a connection whether it may be a member's. */
export class Opening {
  #heard = 0;

  /** @returns ours: all that a member says first. begun: so far as one would say it. other: what none says. */
  hear(bytes: Uint8Array): 'begun' | 'ours' | 'other' {
    const expected = OPENING.subarray(this.#heard, this.#heard + bytes.length);
    if (!expected.equals(bytes.subarray(0, expected.length))) return 'other';
    this.#heard += expected.length;
    return this.#heard === OPENING.length ? 'ours' : 'begun';
  }
}
