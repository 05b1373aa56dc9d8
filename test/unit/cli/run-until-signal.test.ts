import { EventEmitter } from 'node:events';
import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { runUntilSignal } from '../../../src/cli/run-until-signal.ts';
import { WindlassError } from '../../../src/errors.ts';

/** Longer than any test: what is bounded by it must end by other means. */
const NEVER_MS = 1_000_000;

function scene({ stopTimeoutMs = NEVER_MS } = {}) {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) });
  const calls: string[] = [];
  const started = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const service = {
    start() {
      calls.push('start');
      return started.promise;
    },
    stop() {
      calls.push('stop');
      return stopped.promise;
    },
  };
  const signals = new EventEmitter();
  const code = runUntilSignal(service, { signals, stopTimeoutMs, logger });
  return { lines, calls, started, stopped, signals, code, send: (name: string) => signals.emit(name, name) };
}

afterEach(() => void vi.restoreAllMocks());

const turns = () => new Promise((resolve) => setImmediate(resolve));

test.each(['SIGTERM', 'SIGINT'])('%s stops what runs, and that is a success', async (signal) => {
  const { calls, started, stopped, signals, code, send, lines } = scene();
  started.resolve();
  await turns();
  expect(calls).toEqual(['start']);
  send(signal);
  await turns();
  expect(calls).toEqual(['start', 'stop']);
  stopped.resolve();
  expect(await code).toBe(0);
  expect(lines).toEqual([{ level: 30, signal, msg: 'stopping' }]);
  expect([signals.listenerCount('SIGTERM'), signals.listenerCount('SIGINT')]).toEqual([0, 0]);
});

test('a signal during the start stops once started, not before', async () => {
  const { calls, started, stopped, code, send } = scene();
  send('SIGTERM');
  await turns();
  expect(calls).toEqual(['start']);
  started.resolve();
  stopped.resolve();
  expect(await code).toBe(0);
  expect(calls).toEqual(['start', 'stop']);
});

test('a second signal ends at once, whatever still runs', async () => {
  const { started, code, send, lines } = scene();
  started.resolve();
  await turns();
  send('SIGTERM');
  send('SIGINT');
  expect(await code).toBe(1);
  expect(lines.at(-1)).toMatchObject({ reason: 'a second signal, SIGINT' });
});

test('a second signal ends a start that hangs', async () => {
  const { code, send } = scene();
  vi.spyOn(performance, 'now').mockReturnValueOnce(1000).mockReturnValueOnce(1300);
  send('SIGINT');
  await turns();
  send('SIGINT');
  expect(await code).toBe(1);
});

test('the same signal twice within a moment is one: npm passes on the Ctrl-C that the terminal has sent to all', async () => {
  const { started, stopped, code, send, lines } = scene();
  vi.spyOn(performance, 'now').mockReturnValueOnce(1000).mockReturnValueOnce(1100);
  started.resolve();
  await turns();
  send('SIGINT');
  send('SIGINT');
  await turns();
  stopped.resolve();
  expect(await code).toBe(0);
  expect(lines).toEqual([{ level: 30, signal: 'SIGINT', msg: 'stopping' }]);
});

test('a stop that takes too long is not waited for', async () => {
  const { started, code, send, lines } = scene({ stopTimeoutMs: 1 });
  started.resolve();
  await turns();
  send('SIGTERM');
  expect(await code).toBe(1);
  expect(lines.at(-1)).toMatchObject({ level: 50, reason: 'it took too long to stop' });
});

test.each([
  [
    'an address that is taken, with what to do',
    Object.assign(new Error('listen EADDRINUSE: address already in use 127.0.0.1:5050'), { code: 'EADDRINUSE' }),
    {
      level: 60,
      code: 'EADDRINUSE',
      msg: 'the agent cannot start: listen EADDRINUSE: address already in use 127.0.0.1:5050 (is another agent running? choose other addresses: mirror.listen, status.listen)',
    },
  ],
  [
    'an error of our own family',
    new WindlassError('STORE_UNUSABLE', 'no store'),
    { level: 60, code: 'STORE_UNUSABLE', msg: 'the agent cannot start: no store' },
  ],
])('a failed start is one line: %s', async (_name, error, line) => {
  const { started, code, lines, calls } = scene();
  started.reject(error);
  expect(await code).toBe(1);
  expect(lines).toEqual([line]);
  expect(calls).toEqual(['start']);
});

test('a fault of the code has its stack in the log', async () => {
  const { started, stopped, code, lines, send } = scene();
  started.resolve();
  await turns();
  send('SIGTERM');
  stopped.reject(new TypeError('x is not a function'));
  expect(await code).toBe(1);
  expect(lines.at(-1)).toMatchObject({
    msg: 'the agent failed to stop',
    err: { stack: expect.stringContaining('at ') },
  });
});
