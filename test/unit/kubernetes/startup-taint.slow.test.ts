import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiAccess } from '../../../src/kubernetes/api-access.ts';
import { ANSWER_MS, KubeApi } from '../../../src/kubernetes/kube-api.ts';
import { createStartupTaint, StartupTaint } from '../../../src/kubernetes/startup-taint.ts';
import { EventQueue } from '../../support/event-queue.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeKubeApi, statusOf } from '../../support/fake-kube-api.ts';
import { Scratch } from '../../support/scratch.ts';
import { NodeObject } from './node-object.ts';

const KEY = 'windlass.dev/agent-not-ready';
const STARTUP = { key: KEY, effect: 'NoSchedule' };
const OTHER = { key: 'example.com/other', value: 'x', effect: 'NoExecute', timeAdded: '2026-11-26T00:00:00Z' };
const REMOVED = 'the startup taint is removed: Pods may come to this node';
const FAILS = 'the startup taint cannot be removed; it is tried again, and pulls are served meanwhile';
const PATCH = 'PATCH /api/v1/nodes/n1';
/** After which times it looks while they grow, in ms. */
const LOOKS = [4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000];

let scratch: Scratch;
let api: FakeKubeApi;
let node: NodeObject;
let clock: EventQueue;
/** By which answers are late. Another one: on `clock` the bound of a request under way would look like a wait. */
let bounds: EventQueue;
let lines: { msg: string; hint?: string; err?: { message: string } }[];
let taint: StartupTaint;
let randomly: number;
beforeEach(async () => {
  scratch = await Scratch.create();
  api = await FakeKubeApi.start(scratch);
  node = new NodeObject(api, 'n1', [OTHER, STARTUP]);
  clock = new EventQueue();
  bounds = new EventQueue();
  lines = [];
  randomly = 0.5;
  taint = new StartupTaint({
    api: new KubeApi({ loadAccess: async () => new ApiAccess(api.root), timers: bounds }),
    nodeName: 'n1',
    key: KEY,
    timers: clock,
    logger: pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) }),
    random: () => randomly,
  });
});
afterEach(async () => {
  await taint.stop();
  await scratch.dispose();
});

const messages = () => lines.map(({ msg }) => msg);
/** Of the patches of the Node, each one: `read`, which changes nothing, or `patch`. */
const asked = () =>
  api.requests.map(({ method, path, body }) => {
    if (`${method} ${path}` !== PATCH) return `${method} ${path}`;
    return body === '[]' ? 'read' : 'patch';
  });
/** The real ones are answered like this instead. */
const refusePatches = (status: number, message: string) => {
  const node = api.routes.get(PATCH);
  api.routes.set(PATCH, (request) =>
    request.body === '[]' && node !== undefined ? node(request) : { status, object: statusOf(status, message) },
  );
};
const until = (condition: () => boolean, what: string) =>
  eventually(condition, { what: () => `${what}; asked ${asked()}, said ${JSON.stringify(lines)}` });
/** It has done what it could, and the next try has its time. */
const asleep = (waitMs: number) => until(() => clock.nextInMs === waitMs, `a wait of ${waitMs} ms`);
const passes = (ms: number) => clock.run(clock.now() + ms);

describe('a Node', () => {
  test('loses the taint, whatever its value and effect, and no other', async () => {
    node.taints = [STARTUP, OTHER, { ...STARTUP, value: 'x', effect: 'NoExecute' }, { key: `${KEY}-too`, effect: 'x' }];
    taint.start();
    await asleep(4_000);
    expect(node.taints).toEqual([OTHER, { key: `${KEY}-too`, effect: 'x' }]);
    expect(asked()).toEqual(['read', 'patch']);
    expect(messages()).toEqual([REMOVED]);
    expect(JSON.parse(api.requests[1]?.body ?? '').map(({ op }: { op: string }) => op)).toEqual([
      ...['test', 'remove'],
      ...['test', 'remove'],
    ]);
  });

  test('that has it not is patched in nothing, and looked at again: soon, then ever less often', async () => {
    node.taints = [];
    taint.start();
    for (const waitMs of LOOKS) {
      await asleep(waitMs);
      await passes(waitMs);
    }
    await asleep(450_000);
    expect([new Set(asked()), messages()]).toEqual([new Set(['read']), []]);
  });

  test('that is deleted, and registered again with the taint after hours, loses it too', async () => {
    node.taints = [];
    taint.start();
    for (const waitMs of [...LOOKS, ...Array(30).fill(450_000)]) {
      await asleep(waitMs);
      await passes(waitMs);
    }
    await asleep(450_000);
    node.taints = [STARTUP];
    await passes(450_000);
    await until(() => messages().length > 0, 'the taint to go');
    expect([node.taints, messages()]).toEqual([[], [REMOVED]]);
  });

  test.each([
    [0, 2_000, 300_000],
    [0.999, 5_996, 599_700],
  ])(
    'is looked at by many agents at many moments: with %d after %d ms, and later after %d',
    async (random, ms, lateMs) => {
      randomly = random;
      taint.start();
      await asleep(ms);
      for (const _look of LOOKS) {
        await passes(clock.nextInMs ?? 0);
        await until(() => clock.nextInMs !== undefined, 'the next look to be over');
      }
      await asleep(lateMs);
    },
  );

  test('that is tainted after the agent looked loses it too', async () => {
    node.taints = [];
    taint.start();
    await asleep(4_000);
    node.taints = [STARTUP];
    await passes(4_000);
    await until(() => messages().length > 0, 'the taint to go');
    expect([node.taints, messages()]).toEqual([[], [REMOVED]]);
  });

  test('whose taints others change meanwhile is asked again, without a word, and nothing of theirs is lost', async () => {
    const others = [1, 2, 3].map((n) => ({ key: `n${n}`, effect: 'NoSchedule' }));
    node.onRead = () => {
      const next = others.pop();
      if (next !== undefined) node.taints = [next, ...node.taints];
    };
    taint.start();
    for (const waitMs of [250, 500, 1_000]) {
      await asleep(waitMs);
      await passes(waitMs);
    }
    await asleep(4_000);
    expect(node.taints.map(({ key }) => key)).toEqual(['n1', 'n2', 'n3', OTHER.key]);
    expect(messages()).toEqual([REMOVED]);
  });

  test('which is changed at the very moment (409) is asked again', async () => {
    const patch = api.routes.get(PATCH);
    refusePatches(409, 'the object has been modified');
    taint.start();
    await asleep(250);
    if (patch !== undefined) api.routes.set(PATCH, patch);
    await passes(250);
    await asleep(4_000);
    expect([node.taints, messages()]).toEqual([[OTHER], [REMOVED]]);
  });

  test('that can never be patched is complained of after a while', async () => {
    refusePatches(422, 'denied by a policy of others');
    taint.start();
    for (const waitMs of [250, 500, 1_000, 2_000, 4_000]) {
      await asleep(waitMs);
      expect(messages()).toEqual([]);
      await passes(waitMs);
    }
    await asleep(8_000);
    await passes(8_000);
    await asleep(8_000);
    expect(lines).toEqual([expect.objectContaining({ msg: FAILS, taint: KEY, node: 'n1' })]);
    expect(lines[0]?.err?.message).toBe('the API server answered 422: denied by a policy of others');
  });
});

describe('an API server', () => {
  test('that forbids it is asked again, and one warning says what to grant', async () => {
    api.refusal = { status: 403 };
    taint.start();
    for (const waitMs of [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 200_000]) {
      await asleep(waitMs);
      await passes(waitMs);
    }
    await asleep(200_000);
    expect(lines).toEqual([
      expect.objectContaining({ msg: FAILS, level: 40, hint: expect.stringContaining('needs patch of nodes') }),
    ]);
    // As soon as somebody has granted it.
    api.refusal = undefined;
    await passes(200_000);
    await asleep(4_000);
    expect([node.taints, messages()]).toEqual([[OTHER], [FAILS, REMOVED]]);
  });

  test('that fails with 503 is asked once a minute at least', async () => {
    api.refusal = { status: 503 };
    taint.start();
    for (const waitMs of [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]) {
      await asleep(waitMs);
      await passes(waitMs);
    }
    await asleep(60_000);
  });

  test('that knows no such Node is asked again, and told of node.name', async () => {
    api.refusal = { status: 404 };
    taint.start();
    await asleep(250);
    expect(lines).toEqual([expect.objectContaining({ msg: FAILS, hint: expect.stringContaining('node.name') })]);
  });

  test.each([500, 503])('that fails with %i is asked again, and another reason is said', async (status) => {
    api.refusal = { status };
    taint.start();
    await asleep(250);
    await passes(250);
    await asleep(500);
    expect(messages()).toEqual([FAILS]);
    api.refusal = { status: 403 };
    await passes(500);
    await asleep(1_000);
    expect(messages()).toEqual([FAILS, FAILS]);
  });

  test('that names a time is not asked before', async () => {
    api.refusal = { status: 429, headers: { 'retry-after': '7' } };
    taint.start();
    await asleep(7_000);
  });

  test('that is away is asked again', async () => {
    await api.stop();
    taint.start();
    await asleep(250);
    expect(lines[0]?.err?.message).toMatch(/^the API server 127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
    await api.listen();
    await passes(250);
    await asleep(4_000);
    expect(node.taints).toEqual([OTHER]);
  });

  test('that takes a request and says nothing is left for the next try', async () => {
    api.isMute = true;
    taint.start();
    await until(() => asked().length === 1, 'a request');
    await bounds.run(ANSWER_MS);
    await asleep(250);
    expect(lines[0]?.err?.message).toMatch(/cannot be reached: nothing heard for 10000 ms/);
    api.isMute = false;
    await passes(250);
    await asleep(4_000);
    expect(node.taints).toEqual([OTHER]);
  });

  test('that refuses the token is asked with what the file has by then', async () => {
    api.token = 'token-2';
    taint.start();
    await asleep(250);
    expect(lines[0]?.err?.message).toBe('the API server answered 401: Unauthorized');
    await api.writeToken('token-2');
    await passes(250);
    await asleep(4_000);
    expect(node.taints).toEqual([OTHER]);
  });

  test.each<[string, object]>([
    ['a list', [1]],
    ['taints that are none', { spec: { taints: [{ effect: 'x' }] } }],
  ])('that answers with %s is asked again', async (_name, object) => {
    const patch = api.routes.get(PATCH);
    api.routes.set(PATCH, () => ({ object }));
    taint.start();
    await asleep(250);
    expect(lines[0]?.err?.message).toBe('the API server sent what is no Node');
    if (patch !== undefined) api.routes.set(PATCH, patch);
    await passes(250);
    await asleep(4_000);
    expect(node.taints).toEqual([OTHER]);
  });
});

describe('stopped', () => {
  test('while it was asking, it ends at once and says nothing', async () => {
    api.isMute = true;
    taint.start();
    await until(() => asked().length === 1, 'a request');
    await taint.stop();
    expect([lines, clock.nextInMs, bounds.nextInMs]).toEqual([[], undefined, undefined]);
  });

  test('while it waits, it patches nothing any more', async () => {
    api.refusal = { status: 403 };
    taint.start();
    await asleep(250);
    await taint.stop();
    api.refusal = undefined;
    await passes(600_000);
    expect(node.taints).toEqual([OTHER, STARTUP]);
  });
});

describe('by its setting', () => {
  const options = { nodeName: 'n1', timers: new EventQueue(), logger: pino({ level: 'silent' }) };

  test('there is none where none is named', () => {
    expect(createStartupTaint('', options)).toBeUndefined();
  });

  test('outside of a Pod it is refused', () => {
    delete process.env.KUBERNETES_SERVICE_PORT;
    expect(() => createStartupTaint(KEY, options)).toThrow(
      expect.objectContaining({
        code: 'INVALID_SETTINGS',
        message: `node.startupTaint = "${KEY}": there is no variable KUBERNETES_SERVICE_PORT, which every Pod has; outside of one leave it out`,
      }),
    );
  });
});
