import { run } from '../support/commands.ts';
import { limitRate } from '../support/link-rate.ts';
import type { Scratch } from '../support/scratch.ts';

/** A network namespace behind a veth pair whose far end sends no faster than a rate (tc tbf). Needs root. */
export class ThrottledLink {
  static #count = 0;

  readonly namespace: string;
  /** In the namespace, reachable from here alone. */
  readonly address: string;
  readonly #device: string;

  private constructor(namespace: string, address: string, device: string) {
    this.namespace = namespace;
    this.address = address;
    this.#device = device;
  }

  static async create(scratch: Scratch): Promise<ThrottledLink> {
    ThrottledLink.#count += 1;
    const id = `wlb${process.pid % 100_000}x${ThrottledLink.#count}`;
    // Of the range for benchmarks (RFC 2544).
    const net = `198.18.${ThrottledLink.#count}`;
    await run('ip', ['netns', 'add', id]);
    scratch.defer(async () => {
      await run('ip', ['link', 'del', `${id}a`]);
      await run('ip', ['netns', 'del', id]);
    });
    await run('ip', ['link', 'add', `${id}a`, 'type', 'veth', 'peer', 'name', `${id}b`, 'netns', id]);
    await run('ip', ['addr', 'add', `${net}.1/30`, 'dev', `${id}a`]);
    await run('ip', ['link', 'set', `${id}a`, 'up']);
    for (const args of [
      ['addr', 'add', `${net}.2/30`, 'dev', `${id}b`],
      ['link', 'set', `${id}b`, 'up'],
      ['link', 'set', 'lo', 'up'],
    ]) {
      await run('ip', ['-n', id, ...args]);
    }
    return new ThrottledLink(id, `${net}.2`, `${id}b`);
  }

  /** @param megabits per second; undefined: as fast as it goes. */
  limit(megabits: number | undefined): Promise<void> {
    return limitRate(this.namespace, this.#device, megabits);
  }
}
