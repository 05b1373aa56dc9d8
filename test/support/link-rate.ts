import { run } from './commands.ts';

/**
 * KiB that may go at once. TCP hands down up to 64 KiB in one piece, headers aside, and a bucket that cannot hold it cuts
 * it into packets, each with a timer of its own: at 64 KiB, 37,000 timer interrupts a second for 100 MB/s in all, which
 * cost as much as all that the agents did.
 */
const LEAST_BURST = 128;

/**
 * Limits what a device of a network namespace sends (tc tbf). Needs root.
 *
 * @param megabits per second; undefined: as fast as it goes
 */
export async function limitRate(namespace: string, device: string, megabits: number | undefined): Promise<void> {
  const tc = ['netns', 'exec', namespace, 'tc', 'qdisc'];
  if (megabits === undefined) {
    await run('ip', [...tc, 'del', 'dev', device, 'root']).catch(() => {});
    return;
  }
  const burst = Math.max(LEAST_BURST, Math.ceil(megabits / 4));
  await run('ip', [
    ...[...tc, 'replace', 'dev', device, 'root', 'tbf'],
    ...['rate', `${megabits}mbit`, 'burst', `${burst}kb`, 'latency', '50ms'],
  ]);
}
