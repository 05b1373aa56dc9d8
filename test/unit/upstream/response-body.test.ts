import { setImmediate as turn } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { expect, test } from 'vitest';
import { ResponseBody } from '../../../src/upstream/response-body.ts';
import { eventually } from '../../support/eventually.ts';

const STALL_MS = 50;

const MIB = 1024 * 1024;

function openBody(lengthBytes?: number): { body: ResponseBody; aborted: unknown[]; calls: string[] } {
  const aborted: unknown[] = [];
  const calls: string[] = [];
  const controller: Partial<Dispatcher.DispatchController> = {
    abort: (reason) => void aborted.push(reason),
    pause: () => void calls.push('pause'),
    resume: () => void calls.push('resume'),
  };
  const body = new ResponseBody({
    controller: controller as Dispatcher.DispatchController,
    lengthBytes,
    stallTimeoutMs: STALL_MS,
    describe: (error) => error,
    onOver: () => {},
  });
  return { body, aborted, calls };
}

/** As SIGSTOP does: nothing of this process runs. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('a process that stood still reads what came meanwhile before it calls upstream stalled', async () => {
  const { body, aborted } = openBody();
  const step = body.next();
  standStill(3 * STALL_MS);
  // Its timers run first, then what lies in its sockets.
  setTimeout(() => setImmediate(() => body.push(Buffer.from('here'))), 1);
  expect(await step).toMatchObject({ done: false, value: Buffer.from('here') });
  expect(aborted).toEqual([]);
  body.end();
});

test('after that it waits as long as ever, and no longer', async () => {
  const { body, aborted } = openBody();
  const step = body.next();
  standStill(3 * STALL_MS);
  await expect(step).rejects.toMatchObject({ code: 'UPSTREAM_STALLED' });
  expect(aborted).toHaveLength(1);
});

/** Past the beginning, where everything is read as it comes, and with enough to come. */
async function inTheMiddle(): Promise<ReturnType<typeof openBody>> {
  const opened = openBody(8 * MIB);
  for (let sent = 0; sent < 1.5 * MIB; sent += 64 * 1024) {
    opened.body.push(Buffer.alloc(64 * 1024));
    await opened.body.next();
  }
  // At a pace at which a rest is worth it.
  standStill(100);
  await turn();
  opened.body.push(Buffer.alloc(64 * 1024));
  await opened.body.next();
  await turn();
  await turn();
  opened.calls.length = 0;
  return opened;
}

test('in the middle of a body a small chunk is followed by a rest, which ends by itself', async () => {
  const { body, calls } = await inTheMiddle();
  body.push(Buffer.alloc(1_448));
  await eventually(() => calls.length === 2);
  expect(calls).toEqual(['pause', 'resume']);
  body.end();
});

test('records of TLS that come together are no small chunks: there may be more', async () => {
  const { body, calls } = await inTheMiddle();
  for (let i = 0; i < 4; i += 1) body.push(Buffer.alloc(16 * 1024));
  await turn();
  await turn();
  expect(calls).toEqual([]);
  body.end();
});

test('a rest and a reader that is behind do not undo each other', async () => {
  const { body, calls } = await inTheMiddle();
  for (let round = 0; round < 20; round += 1) {
    body.push(Buffer.alloc(1_448));
    if (round % 2 === 0) await turn();
    body.push(Buffer.alloc(300 * 1024));
    standStill(round);
    await turn();
    await body.next();
    await body.next();
  }
  await eventually(() => calls.at(-1) === 'resume');
  expect(calls.length).toBeGreaterThanOrEqual(4);
  expect(calls).toEqual(calls.map((_, at) => (at % 2 === 0 ? 'pause' : 'resume')));
  body.end();
});

test('nothing rests in a body whose end is near, or not known', async () => {
  for (const length of [undefined, 1.6 * MIB]) {
    const { body, calls } = openBody(length);
    for (let sent = 0; sent < 1.5 * MIB; sent += 64 * 1024) body.push(Buffer.alloc(64 * 1024));
    for (let i = 0; i < 24; i += 1) await body.next();
    await turn();
    calls.length = 0;
    standStill(100);
    body.push(Buffer.alloc(1_448));
    await turn();
    await turn();
    expect(calls).toEqual([]);
    body.end();
  }
});
