import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { createLogger } from '../../../src/cli/create-logger.ts';
import { formatLogLine } from '../../../src/cli/log-line.ts';
import { WindlassError } from '../../../src/errors.ts';

function logged(format: 'json' | 'text', level: 'info' | 'debug' | 'silent' = 'info') {
  const lines: string[] = [];
  return { lines, logger: createLogger({ format, level }, { write: (line) => void lines.push(line) }) };
}

test('json is one object a line, without the process number and host that every collector adds', () => {
  const { lines, logger } = logged('json');
  logger.info({ digest: 'sha256:abc' }, 'blob committed');
  expect(lines).toHaveLength(1);
  const { time, ...rest } = JSON.parse(lines[0] ?? '');
  expect(rest).toEqual({ level: 30, digest: 'sha256:abc', msg: 'blob committed' });
  expect(new Date(time).toISOString()).toBe(time);
});

test('text is one line a person can read: time, level, message, fields', () => {
  const { lines, logger } = logged('text');
  logger.child({ room: 'pull' }).warn({ digest: 'sha256:abc', sizeBytes: 42, why: 'two words' }, 'blob committed');
  expect(lines.join('')).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} warn {2}blob committed room=pull digest=sha256:abc sizeBytes=42 why="two words"\n$/,
  );
});

test('text shows the stack of an error below its line', () => {
  const { lines, logger } = logged('text');
  logger.error({ err: new Error('boom'), host: 'a.b' }, 'it broke');
  const [line, ...stack] = lines.join('').trimEnd().split('\n');
  expect(line).toMatch(/error it broke host=a\.b$/);
  expect(stack[0]).toBe('    Error: boom');
  expect(stack.length).toBeGreaterThan(1);
});

test.each([
  ['of our own family', new WindlassError('UPSTREAM_UNAVAILABLE', 'HEAD x: refused'), 'HEAD x: refused'],
  ['of the system', Object.assign(new Error('no space left'), { code: 'ENOSPC' }), 'no space left'],
  [
    'of the one, caused by the other',
    new WindlassError('STORE_UNUSABLE', 'no store', { cause: Object.assign(new Error('mkdir'), { code: 'EROFS' }) }),
    'no store: mkdir',
  ],
])('an error that was foreseen, %s, is its code and message, without a stack', (_name, err, message) => {
  const { lines, logger } = logged('json');
  logger.warn({ err }, 'x');
  expect(JSON.parse(lines[0] ?? '').err).toEqual({ type: err.name, code: err.code, message });
  const text = logged('text');
  text.logger.warn({ err }, 'x');
  expect(text.lines.join('').slice('00:00:00.000 '.length)).toBe(`warn  x code=${err.code} err="${message}"\n`);
});

test('an error of ours that a fault of the code has caused keeps its stack', () => {
  const { lines, logger } = logged('json');
  logger.warn({ err: new WindlassError('UPSTREAM_UNAVAILABLE', 'x', { cause: new TypeError('not a function') }) }, 'y');
  expect(JSON.parse(lines[0] ?? '').err.stack).toMatch(/caused by: TypeError: not a function\n {4}at /);
});

test('no name from outside breaks a line of text or moves the cursor', () => {
  const { lines, logger } = logged('text');
  logger.info({ repository: 'a\nb\u001b[2J', n: null }, 'asked for x\ny\u001b[2J');
  expect(lines.join('').slice(0, -1)).not.toMatch(/\p{Cc}/u);
});

test('what is below the level is not written', () => {
  const quiet = logged('json', 'silent');
  quiet.logger.fatal('nothing');
  const usual = logged('text');
  usual.logger.debug('nothing');
  const talkative = logged('text', 'debug');
  talkative.logger.debug('something');
  expect([quiet.lines.length, usual.lines.length, talkative.lines.length]).toEqual([0, 0, 1]);
});

test.each(['not JSON\n', '[1]\n', '\n'])('%j is passed on as it is', (line) => expect(formatLogLine(line)).toBe(line));

test('a process ends although whoever read its log has gone', async () => {
  const file = new URL('../../../src/cli/create-logger.ts', import.meta.url).href;
  const code = `
    import { createLogger } from ${JSON.stringify(file)};
    await new Promise((resolve) => process.stdin.once('data', resolve));
    const logger = createLogger({ level: 'info', format: 'json' });
    for (const line of ['stopping', 'stopped']) logger.info(line);
    process.exit(7);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  child.stdout.destroy();
  await once(child.stdout, 'close');
  child.stdin.end('go');
  expect(await exit).toEqual([7, null]);
});
