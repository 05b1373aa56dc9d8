import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined if a signal ended it. */
  readonly code: number | undefined;
}

export interface CommandOptions {
  readonly signal?: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly input?: string;
  /** SIGKILL after that long. */
  readonly timeoutMs?: number;
}

/** Debian keeps runc in /usr/sbin, which is not in every user's PATH. */
export const SYSTEM_PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter);

/** The command's full path, or undefined where it is not installed. */
export function which(command: string): string | undefined {
  for (const folder of SYSTEM_PATH.split(delimiter)) {
    const path = join(folder, command);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Runs a command to its end, whatever its exit code. Rejects if it cannot be started, or was aborted. */
export function tryCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { signal, env = {}, cwd, input, timeoutMs = 120_000 } = options;
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        env: { ...process.env, PATH: SYSTEM_PATH, ...env },
        maxBuffer: 64 * 1024 * 1024,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        ...(cwd === undefined ? {} : { cwd }),
        ...(signal === undefined ? {} : { signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ stdout, stderr, code: 0 });
        else if (typeof error.code === 'number') resolve({ stdout, stderr, code: error.code });
        else if (error.killed !== true && error.signal != null) resolve({ stdout, stderr, code: undefined });
        else reject(new Error(`${command} ${args.join(' ')}: ${error.message}\n${stderr}`, { cause: error }));
      },
    );
    child.stdin?.on('error', () => {
      // The command does not read its input: its exit code tells.
    });
    child.stdin?.end(input ?? '');
  });
}

/** Runs a command that must exit with 0; the error holds all that it said. */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const result = await tryCommand(command, args, options);
  if (result.code !== 0) {
    throw new Error(`${command} ${args.join(' ')}: exit code ${result.code}\n${result.stdout}${result.stderr}`);
  }
  return result;
}
