import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SETTING_KEYS } from '../../../src/config/setting-keys.ts';
import { type Ended, run, start } from './child.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const BIN = join(ROOT, 'src', 'windlass.js');
const MAIN = join(ROOT, 'src', 'main.ts');

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'windlass-cli-'));
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

const windlass = (...args: string[]): Promise<Ended> => run(process.execPath, [BIN, ...args], { cwd });
const anywhere = [
  '--mirror.listen=127.0.0.1:0',
  '--status.listen=127.0.0.1:0',
  '--store.path=store',
  '--log.format=text',
];

describe('the command line', () => {
  test('--version says the version of the package', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    expect(await windlass('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('--help lists the commands', async () => {
    const { code, stdout, stderr } = await windlass('--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const commands = [
      'agent',
      'configure',
      'cleanup',
      'doctor',
      'demo',
      'status',
      'drop',
      'make-secret',
      'await-cleanup',
    ];
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test.each([
    ['agent', '--help'],
    ['help', 'agent'],
  ])('%s %s lists every setting with its default', async (...args) => {
    const { code, stdout, stderr } = await windlass(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const flat = stdout.replace(/\s+/g, ' ');
    for (const { flag, shownDefault } of SETTING_KEYS) {
      const entry = flat
        .slice(flat.indexOf(` ${flag} <`))
        .split(' --', 2)
        .join(' --');
      expect(entry, flag).toContain(shownDefault);
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  test.each([
    ['nothing at all', [], /^Usage: windlass/],
    ['an unknown command', ['agnet'], /unknown command 'agnet'[\s\S]*Did you mean agent/],
    ['an unknown option', ['--frobnicate'], /unknown option '--frobnicate'/],
    ['an unknown option of status', ['status', '--wacth'], /unknown option '--wacth'[\s\S]*Did you mean --watch/],
    ['a Secret without a name', ['make-secret'], /required option '--name <name>' not specified/],
    ['no DaemonSet', ['await-cleanup', '--timeout', 'soon'], /'soon' is invalid\. write a time above 0/],
    ['nothing to drop', ['drop'], /missing required argument 'digest\|tag'/],
    ['no number of agents', ['demo', '--agents', 'x'], /write a whole number from 1 to 16/],
    ['an unknown option of the demo', ['demo', '--frobnicate'], /unknown option '--frobnicate'/],
    [
      'settings that cannot be used',
      ['agent', '--log.level=loud', '--x'],
      /^windlass: 2 settings cannot be used:\n {2}--x .*\n {2}log\.level .*\n$/,
    ],
  ])('%s is bad usage: exit code 2, on stderr, without a stack', async (_name, args, message) => {
    const { code, stdout, stderr } = await windlass(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

describe('the agent as a process', () => {
  test('serves until SIGTERM, then ends with 0', async () => {
    const agent = start(process.execPath, [MAIN, 'agent', ...anywhere], { cwd });
    await agent.untilStdout(/agent is ready/);
    agent.kill('SIGTERM');
    const { code, stdout, stderr } = await agent.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/stopping signal=SIGTERM[\s\S]*agent stopped/);
  });

  test('stops with npm, which otherwise would leave it behind with nobody to stop it', async () => {
    const flags = [...anywhere, `--store.path=${join(cwd, 'store')}`].filter((flag) => flag !== '--store.path=store');
    const npm = start('npm', ['start', '--ignore-scripts', '--', ...flags], { cwd: ROOT });
    await npm.untilStdout(/agent is ready/);
    npm.kill('SIGTERM');
    // Its stdout is closed when the agent itself has ended.
    expect((await npm.ended).stdout).toMatch(/stopping signal=SIGTERM[\s\S]*agent stopped/);
  });

  test('says in one line that an address is taken, and ends with 1', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const { code, stdout, stderr } = await windlass('agent', ...anywhere.slice(1), `--mirror.listen=127.0.0.1:${port}`);
    server.close();
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(new RegExp(`fatal the agent cannot start: .*127\\.0\\.0\\.1:${port} .*EADDRINUSE\n$`));
    expect(stdout).not.toMatch(/^\s+at /m);
  });

  test('logs what it was warned of', async () => {
    const agent = start(process.execPath, [MAIN, 'agent', ...anywhere.slice(1), '--mirror.listen=0.0.0.0:0'], { cwd });
    await agent.untilStdout(/agent is ready/);
    agent.kill('SIGINT');
    expect(await agent.ended).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/warn {2}mirror\.listen: 0\.0\.0\.0:0 is open/),
    });
  });

  test('gives the file system eight threads, if nobody asked for another number', async () => {
    const code = `process.argv.splice(1, 0, 'main'); process.exit = () => console.log(process.env.UV_THREADPOOL_SIZE); import(${JSON.stringify(MAIN)})`;
    const threads = async (size?: string) => {
      const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
      const options = { cwd, env: size === undefined ? env : { ...env, UV_THREADPOOL_SIZE: size } };
      return (await run(process.execPath, ['-e', code, '--', '--version'], options)).stdout.trim().split('\n').at(-1);
    };
    expect([await threads(), await threads('3')]).toEqual(['8', '3']);
  });
});

describe('a Node that is too old', () => {
  const old = oldNode();
  const oneLine = /^windlass needs Node 24 or newer; this is v\d+\.\d+\.\d+: .*npm ci.*\n$/;

  test.skipIf(old === undefined)('gets one line and exit code 1 from the bin', async () => {
    const { code, stdout, stderr } = await run(old ?? '', [BIN, '--version'], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(oneLine);
  });

  test.each([BIN, MAIN])('gets one line from %s, whatever its number', async (file) => {
    // What 22.18 would do: it strips types, and so gets as far as main.ts. Nothing else may be loaded before.
    const code = `Object.defineProperty(process, 'version', { value: 'v22.18.0' }); Object.defineProperty(process, 'versions', { value: { node: '22.18.0' } }); import(${JSON.stringify(file)})`;
    const { code: exitCode, stdout, stderr } = await run(process.execPath, ['-e', code], { cwd });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toMatch(oneLine);
  });

  test('does not matter to npm exec in a checkout: it finds the Node of the dependencies', async () => {
    const { code, stdout } = await run('npm', ['exec', 'windlass', '--', '--version'], { cwd: ROOT });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  });
});

/** The first `node` in PATH that is older than 24; undefined where there is none. */
function oldNode(): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      const version = execFileSync(join(folder, 'node'), ['--version'], { encoding: 'utf8', stdio: 'pipe' });
      if (Number(/^v(\d+)/.exec(version)?.[1]) < 24) return join(folder, 'node');
    } catch {
      // No node in this folder.
    }
  }
  return undefined;
}
