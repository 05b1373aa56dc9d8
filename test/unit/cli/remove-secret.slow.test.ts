import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeSecretCommand } from '../../../src/cli/remove-secret.ts';
import { FakeKubeApi, NAMESPACE, statusOf } from '../../support/fake-kube-api.ts';
import { runCommand } from '../../support/run-command.ts';
import { Scratch } from '../../support/scratch.ts';

const PATH = `/api/v1/namespaces/${NAMESPACE}/secrets/windlass`;
const NAME = `the Secret ${NAMESPACE}/windlass`;

let scratch: Scratch;
let api: FakeKubeApi;
beforeEach(async () => {
  scratch = await Scratch.create();
  api = await FakeKubeApi.start(scratch);
});
afterEach(() => scratch.dispose());

const answer = (status: number) => ({ status, object: statusOf(status, 'as the test has it') });
const made = (uid: string) => ({ metadata: { uid, labels: { 'app.kubernetes.io/managed-by': 'windlass' } } });
const removeSecret = (...args: string[]) =>
  runCommand(removeSecretCommand({ podRoot: api.root }), ['--name', 'windlass', ...args]);
const asked = () => api.requests.map(({ method }) => method);

test('removes the very one that it has looked at', async () => {
  api.routes.set(`GET ${PATH}`, () => ({ object: made('uid-1') }));
  api.routes.set(`DELETE ${PATH}`, () => ({ object: statusOf(200, '') }));
  expect(await removeSecret()).toEqual({ code: 0, stdout: `${NAME} is removed\n`, stderr: '' });
  expect(JSON.parse(api.requests.at(-1)?.body ?? '')).toEqual({ preconditions: { uid: 'uid-1' } });
});

test('one that took its place meanwhile is looked at itself', async () => {
  const there: object[] = [made('uid-1'), { metadata: { uid: 'uid-2' } }];
  api.routes.set(`GET ${PATH}`, () => ({ object: there.shift() ?? {} }));
  api.routes.set(`DELETE ${PATH}`, () => answer(409));
  expect(await removeSecret()).toMatchObject({ code: 0, stdout: expect.stringContaining('and stays') });
  expect(asked()).toEqual(['GET', 'DELETE', 'GET']);
});

test.each([
  ['has no labels', { metadata: { uid: 'a' } }],
  ["is another tool's", { metadata: { uid: 'a', labels: { 'app.kubernetes.io/managed-by': 'Helm' } } }],
])('one that %s stays', async (_name, object) => {
  api.routes.set(`GET ${PATH}`, () => ({ object }));
  expect(await removeSecret()).toEqual({
    code: 0,
    stdout: `${NAME} was not made by windlass make-secret, and stays\n`,
    stderr: '',
  });
  expect(asked()).toEqual(['GET']);
});

test('where there is none, all is well, also if that was somebody else', async () => {
  api.routes.set(`GET ${PATH}`, () => answer(404));
  expect(await removeSecret()).toMatchObject({ code: 0, stdout: `${NAME} is not there\n` });
  api.routes.set(`GET ${PATH}`, () => ({ object: made('uid-1') }));
  api.routes.set(`DELETE ${PATH}`, () => answer(404));
  expect(await removeSecret()).toMatchObject({ code: 0, stdout: `${NAME} is not there\n` });
});

test.each([403, 500])('an answer of %i is tried again, and a failure in the end', async (status) => {
  api.routes.set(`GET ${PATH}`, () => answer(status));
  const { code, stdout, stderr } = await removeSecret('--timeout', '300ms');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(`the API server answered ${status}`);
});
