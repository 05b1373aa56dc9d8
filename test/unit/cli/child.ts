import { type ChildProcess, spawn } from 'node:child_process';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface ChildOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

export interface Child {
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
  /** Rejects if it ends before it has written that. */
  untilStdout(pattern: RegExp): Promise<void>;
}

export function start(file: string, args: readonly string[], { cwd, env = process.env }: ChildOptions): Child {
  const child: ChildProcess = spawn(file, args, { cwd, env: withoutSettings(env), stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return {
    ended,
    kill: (signal) => void child.kill(signal),
    untilStdout: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (pattern.test(stdout)) resolve();
        };
        child.stdout?.on('data', look);
        look();
        ended.then(() => reject(new Error(`it ended without saying ${pattern}: ${stdout}${stderr}`)), reject);
      }),
  };
}

export function run(file: string, args: readonly string[], options: ChildOptions): Promise<Ended> {
  return start(file, args, options).ended;
}

/** Whatever is set where the tests run is not theirs. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !name.startsWith('WINDLASS_') && name !== 'NODE_OPTIONS'),
  );
}
