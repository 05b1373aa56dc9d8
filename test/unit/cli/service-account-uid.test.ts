import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { serviceAccountUid } from '../../../src/cli/service-account-uid.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-token-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function uidIn(content: string): Promise<string> {
  const path = join(folder, 'token');
  await writeFile(path, content);
  return serviceAccountUid(path);
}

function token(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2VhbA`;
}

test("is read from the token's claims", async () => {
  const serviceaccount = { name: 'windlass', uid: '0d5ac5f8-13a5-4e6c-a9c2-8d4a4e1c6f20' };
  const claims = { aud: ['a'], 'kubernetes.io': { namespace: 'é', node: { name: 'n1' }, serviceaccount } };
  expect(await uidIn(`${token(claims)}\n`)).toBe(serviceaccount.uid);
});

test.each([
  ['nothing', ''],
  ['a word', 'secret'],
  ['no JSON', 'a.b.c'],
  ['a token of somebody else', token({ sub: 'a' })],
  ['no UID', token({ 'kubernetes.io': { serviceaccount: { uid: '' } } })],
])('%s is refused, and its content is not told', async (_, content) => {
  const refused = uidIn(content);
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_SETTINGS' });
  await expect(refused).rejects.toThrow(
    new RegExp(`^${join(folder, 'token')} is no token .*--install-id, --tombstone`),
  );
});

test('neither is a file that is not there', async () => {
  await expect(serviceAccountUid(join(folder, 'none'))).rejects.toMatchObject({ code: 'INVALID_SETTINGS' });
});
