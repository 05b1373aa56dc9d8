import { run } from '../support/commands.ts';
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
  async limit(megabits: number | undefined): Promise<void> {
    const tc = ['netns', 'exec', this.namespace, 'tc', 'qdisc'];
    if (megabits === undefined) {
      await run('ip', [...tc, 'del', 'dev', this.#device, 'root']).catch(() => {});
      return;
    }
    const burst = Math.max(64, Math.ceil(megabits / 4));
    await run('ip', [
      ...[...tc, 'replace', 'dev', this.#device, 'root', 'tbf'],
      ...['rate', `${megabits}mbit`, 'burst', `${burst}kb`, 'latency', '50ms'],
    ]);
  }
}
