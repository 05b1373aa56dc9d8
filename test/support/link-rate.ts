import { run } from './commands.ts';

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
  const burst = Math.max(64, Math.ceil(megabits / 4));
  await run('ip', [
    ...[...tc, 'replace', 'dev', device, 'root', 'tbf'],
    ...['rate', `${megabits}mbit`, 'burst', `${burst}kb`, 'latency', '50ms'],
  ]);
}
