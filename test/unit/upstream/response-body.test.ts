import type { Dispatcher } from 'undici';
import { expect, test } from 'vitest';
import { ResponseBody } from '../../../src/upstream/response-body.ts';

const STALL_MS = 50;

function openBody(): { body: ResponseBody; aborted: unknown[] } {
  const aborted: unknown[] = [];
  const controller: Partial<Dispatcher.DispatchController> = {
    abort: (reason) => void aborted.push(reason),
    pause: () => {},
    resume: () => {},
  };
  const body = new ResponseBody({
    controller: controller as Dispatcher.DispatchController,
    lengthBytes: undefined,
    stallTimeoutMs: STALL_MS,
    describe: (error) => error,
    onOver: () => {},
  });
  return { body, aborted };
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
