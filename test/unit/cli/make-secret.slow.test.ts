import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
// Here, and not within the time that a test gives the command.
import '../../../src/kubernetes/api-access.ts';
import { makeSecretCommand } from '../../../src/cli/make-secret.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeKubeApi, NAMESPACE, type Route, statusOf } from '../../support/fake-kube-api.ts';
import { runCommand } from '../../support/run-command.ts';
import { Scratch } from '../../support/scratch.ts';

const PATH = `/api/v1/namespaces/${NAMESPACE}/secrets/windlass`;
const GOOD = { data: { secret: btoa('a secret of another Job') } };

let scratch: Scratch;
let api: FakeKubeApi;
const signals = new EventEmitter();
/** As it is stored. */
let secret: object | undefined;
beforeEach(async () => {
  scratch = await Scratch.create();
  api = await FakeKubeApi.start(scratch);
  secret = undefined;
  api.routes.set(`GET ${PATH}`, () => (secret === undefined ? answer(404) : { object: secret }));
  api.routes.set(`PATCH ${PATH}`, apply);
});
afterEach(() => scratch.dispose());

const answer = (status: number): ReturnType<Route> => ({ status, object: statusOf(status, 'as the test has it') });
const apply: Route = ({ body }) => {
  secret = JSON.parse(body);
  return { status: 201, object: JSON.parse(body) };
};
/** The first so many times that. */
const first = (times: number, what: () => ReturnType<Route>, then: Route): Route => {
  let left = times;
  return (request) => (left-- > 0 ? what() : then(request));
};
const makeSecret = (...args: string[]) =>
  runCommand(makeSecretCommand({ podRoot: api.root, signals }), ['--name', 'windlass', ...args]);
const asked = () => api.requests.map(({ method }) => method);

test("is made in the Pod's namespace, by a name that nobody else has", async () => {
  expect(await makeSecret('--key', 'other')).toMatchObject({
    code: 0,
    stdout: `the Secret ${NAMESPACE}/windlass (key other) is made\n`,
  });
  expect(await makeSecret()).toMatchObject({ code: 1, stderr: expect.stringContaining('has no key secret') });
  secret = undefined;
  await makeSecret();
  const managers = api.requests.flatMap(({ query }) => query.fieldManager ?? []);
  expect(new Set(managers).size).toBe(2);
  expect(managers[0]).toMatch(/^windlass-make-secret-[0-9a-f]{16}$/);
});

test('another Job is faster: what it made will do', async () => {
  api.routes.set(`PATCH ${PATH}`, () => {
    secret = GOOD;
    return answer(409);
  });
  expect(await makeSecret()).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('is there, and stays as it is'),
  });
  expect([asked(), secret]).toEqual([['GET', 'PATCH', 'GET'], GOOD]);
});

test('another Job is faster, and what it made will not do', async () => {
  api.routes.set(`PATCH ${PATH}`, () => {
    secret = { data: { secret: '' } };
    return answer(409);
  });
  expect(await makeSecret()).toMatchObject({ code: 1, stderr: expect.stringContaining('its value has 0 bytes') });
});

test('a conflict, and then there is none after all: it is made', async () => {
  api.routes.set(
    `PATCH ${PATH}`,
    first(1, () => answer(409), apply),
  );
  expect(await makeSecret()).toMatchObject({ code: 0, stdout: expect.stringContaining('is made') });
  expect(asked()).toEqual(['GET', 'PATCH', 'GET', 'PATCH']);
});

test.each([403, 429, 500, 503])(
  'an API server that answers %i at first is asked again, and that is said',
  async (status) => {
    api.routes.set(
      `GET ${PATH}`,
      first(
        1,
        () => answer(status),
        () => answer(404),
      ),
    );
    api.routes.set(
      `PATCH ${PATH}`,
      first(1, () => answer(status), apply),
    );
    const { code, stderr } = await makeSecret();
    expect(code).toBe(0);
    expect(stderr).toBe(`trying again: the API server answered ${status}: as the test has it\n`);
  },
);

test('a token that is refused is read again', async () => {
  api.token = 'token-2';
  const running = makeSecret();
  await eventually(() => asked().length > 0, { what: 'a request with the old one' });
  await api.writeToken('token-2');
  expect(await running).toMatchObject({
    code: 0,
    stderr: 'trying again: the API server answered 401: Unauthorized\n',
  });
  expect(api.requests[0]?.token).toBe('token-1');
});

test('an API server that is away is waited for, but not for ever', async () => {
  await api.stop();
  const { code, stdout, stderr } = await makeSecret('--timeout', '1s');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(
    /^trying again: the API server .* cannot be reached: .*ECONNREFUSED.*\nwindlass: the API server .*\n$/,
  );
});

test.each(['SIGTERM', 'SIGINT'])('%s ends it while it waits, and is listened for no longer', async (signal) => {
  api.isMute = true;
  const running = makeSecret();
  await eventually(() => asked().length === 1, { what: 'a request' });
  signals.emit(signal, signal);
  expect(await running).toEqual({ code: 1, stdout: '', stderr: `windlass: ended by ${signal}\n` });
  expect(signals.listenerCount(signal)).toBe(0);
});

test.each([
  ['what is no Secret', { data: [] }],
  ['what is no base64', { data: { secret: '!' } }],
])('an answer that is %s is no reason to make one', async (_name, object) => {
  secret = object;
  expect(await makeSecret('--timeout', '300ms')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('what is no Secret'),
  });
  expect(asked()).not.toContain('PATCH');
});

test.each([
  [['--name', 'Windlass'], 'write a name as Kubernetes has them'],
  [['--name', '../x'], 'write a name as Kubernetes has them'],
  [['--namespace', 'a.b'], 'write the name of a namespace'],
  [['--key', 'a/b'], 'write letters, digits'],
  [['--timeout', '5'], 'write a time above 0'],
])('%j is refused, with what is right', async (args, right) => {
  const { code, stderr } = await makeSecret(...args);
  expect(code).toBe(1);
  expect(stderr).toContain(`'${args[1]}' is invalid. ${right}`);
  expect(asked()).toEqual([]);
});

test('outside of a Pod it is refused', async () => {
  delete process.env.KUBERNETES_SERVICE_HOST;
  expect((await makeSecret()).stderr).toBe(
    'windlass: windlass make-secret: there is no variable KUBERNETES_SERVICE_HOST, which every Pod has; it is for Jobs in the cluster\n',
  );
});
