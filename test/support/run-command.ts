import type { Command } from 'commander';
import { vi } from 'vitest';
import { messageOf } from '../../src/cli/message-of.ts';
import type { CommandResult } from './commands.ts';

/**
 * Runs a command of windlass within this process, which is fast: one at a time, since it takes stdout and stderr. A
 * command that fails has code 1, whatever it fails with.
 */
export async function runCommand(command: Command, args: readonly string[]): Promise<CommandResult> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += text;
      return true;
    }),
  );
  process.exitCode = 0;
  try {
    await command.exitOverride().parseAsync([...args], { from: 'user' });
  } catch (error) {
    process.stderr.write(`windlass: ${messageOf(error)}\n`);
    process.exitCode = 1;
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  const code = Number(process.exitCode);
  process.exitCode = 0;
  return { ...written, code };
}
