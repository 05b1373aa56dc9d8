import { rename, rm, writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClusterSecrets, MAX_SECRETS } from '../../../src/routing/cluster-secret.ts';
import { Scratch } from '../../support/scratch.ts';

const A = 'peer-a';
const B = 'peer-b';
const P = 'windlass/libp2p/1';

let scratch: Scratch;
let now: number;
let files = 0;
beforeEach(async () => {
  scratch = await Scratch.create();
  now = 0;
});
afterEach(() => scratch.dispose());

async function fileOf(secret: string): Promise<string> {
  files += 1;
  const path = scratch.join(`secret-${files}`);
  await writeFile(path, secret);
  return path;
}

async function secretsOf(...secrets: readonly string[]): Promise<ClusterSecrets> {
  return open(await Promise.all(secrets.map(fileOf)));
}

async function open(paths: readonly string[]): Promise<ClusterSecrets> {
  const secrets = new ClusterSecrets({ files: paths, logger: pino({ level: 'silent' }), now: () => now });
  await secrets.load();
  return secrets;
}

async function proofOf(secrets: ClusterSecrets, prover = A, verifier = B, context?: Uint8Array): Promise<Uint8Array> {
  const [proof] = await secrets.proofs(P, prover, verifier, context);
  if (proof === undefined) throw new Error('no proof');
  return proof;
}

test('a proof by the same secret holds, whatever newline ends the file', async () => {
  const mine = await secretsOf('a secret of the cluster\n');
  for (const text of ['a secret of the cluster', 'a secret of the cluster\r\n']) {
    expect(await (await secretsOf(text)).verify(P, A, B, await proofOf(mine))).toBe(0);
  }
});

test('a proof holds for its secret, peers, direction, purpose and context alone', async () => {
  const mine = await secretsOf('a secret of the cluster');
  const context = Buffer.from('nonces');
  const proof = await proofOf(mine, A, B, context);
  expect(await mine.verify(P, A, B, proof, context)).toBe(0);
  const others = await secretsOf('a secret of another cluster');
  expect(await others.verify(P, A, B, proof, context)).toBeUndefined();
  expect(await mine.verify(P, B, A, proof, context)).toBeUndefined();
  expect(await mine.verify(P, A, 'peer-c', proof, context)).toBeUndefined();
  expect(await mine.verify(P, 'peer-c', B, proof, context)).toBeUndefined();
  expect(await mine.verify('windlass/data/1', A, B, proof, context)).toBeUndefined();
  expect(await mine.verify(P, A, B, proof, Buffer.from('other nonces'))).toBeUndefined();
  expect(await mine.verify(P, A, B, proof)).toBeUndefined();
  expect(await mine.verify(P, 'peer-', `a${B}`, proof, context)).toBeUndefined();
});

test('nobody proves anything to themselves: a proof sent back is none', async () => {
  const mine = await secretsOf('a secret of the cluster');
  expect(await mine.verify(P, A, A, await proofOf(mine, A, A))).toBeUndefined();
});

test.each([0, 1, 31, 33, 1000])('a proof of %d bytes is refused', async (length) => {
  const mine = await secretsOf('a secret of the cluster');
  expect(await mine.verify(P, A, B, new Uint8Array(length))).toBeUndefined();
});

test('while secrets rotate, one in common is enough, and its place is told', async () => {
  const old = await secretsOf('the old secret, long enough');
  const both = await secretsOf('the new secret, long enough', 'the old secret, long enough');
  expect(await both.verify(P, A, B, await proofOf(old))).toBe(1);
  const proofs = await both.proofs(P, A, B);
  expect(proofs).toHaveLength(2);
  const found = await Promise.all(proofs.map((proof) => old.verify(P, A, B, proof)));
  expect(found).toEqual([undefined, 0]);
});

test.each([
  ['fifteen bytes..', 'has 15 bytes, at least 16 are needed'],
  ['\n\n', 'has 0 bytes'],
])('a secret that is too short stops the start, and is not quoted', async (text, message) => {
  const path = await fileOf(text);
  const error = await open([path]).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: 'INVALID_SETTINGS', message: expect.stringContaining(message) });
  expect(String(error)).toContain(path);
  expect(String(error)).not.toContain('fifteen');
});

test('a file that does not exist stops the start', async () => {
  await expect(open([scratch.join('absent')])).rejects.toMatchObject({
    code: 'INVALID_SETTINGS',
    message: expect.stringContaining('does not exist'),
  });
});

test('no file, or too many, are refused', () => {
  const logger = pino({ level: 'silent' });
  expect(() => new ClusterSecrets({ files: [], logger })).toThrow('expected 1 to');
  expect(() => new ClusterSecrets({ files: Array(MAX_SECRETS + 1).fill('/x'), logger })).toThrow('expected 1 to');
});

test('a file that changes is read again, and one that is gone leaves the last secret in force', async () => {
  const path = await fileOf('the old secret, long enough');
  const mine = await open([path]);
  const oldProof = await proofOf(mine);
  await writeFile(`${path}.new`, 'the new secret, long enough');
  await rename(`${path}.new`, path);
  now += 2_000;
  const newProof = await proofOf(await secretsOf('the new secret, long enough'));
  expect(await mine.verify(P, A, B, newProof)).toBe(0);
  expect(await mine.verify(P, A, B, oldProof)).toBeUndefined();
  await rm(path);
  now += 2_000;
  expect(await mine.verify(P, A, B, newProof)).toBe(0);
  await writeFile(path, 'the old secret, long enough');
  now += 2_000;
  expect(await mine.verify(P, A, B, oldProof)).toBe(0);
});

test('of two files one may go while the other one changes: half a rotation that is left half', async () => {
  const [kept, gone] = [await fileOf('the first secret, long enough'), await fileOf('the other secret, long enough')];
  const mine = await open([kept, gone]);
  const proofBy = async (text: string) => proofOf(await secretsOf(text));
  expect(await mine.verify(P, A, B, await proofBy('the other secret, long enough'))).toBe(1);
  await rm(gone);
  await writeFile(`${kept}.new`, 'the third secret, long enough');
  await rename(`${kept}.new`, kept);
  now += 2_000;
  expect(await mine.verify(P, A, B, await proofBy('the third secret, long enough'))).toBe(0);
  expect(await mine.verify(P, A, B, await proofBy('the first secret, long enough'))).toBeUndefined();
  expect(await mine.verify(P, A, B, await proofBy('the other secret, long enough'))).toBe(1);
});

test('an insecure cluster lets everybody in', async () => {
  const insecure = new ClusterSecrets('insecure');
  await insecure.load();
  expect(insecure.insecure).toBe(true);
  expect(await insecure.verify(P, A, B, new Uint8Array())).toBe(0);
  expect(await insecure.proofs(P, A, B)).toHaveLength(1);
  const secure = await secretsOf('a secret of the cluster');
  expect(await secure.verify(P, A, B, await proofOf(insecure))).toBeUndefined();
});
