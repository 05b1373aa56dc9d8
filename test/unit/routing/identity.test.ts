import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type IdentityOptions, loadIdentity } from '../../../src/routing/identity.ts';
import { verifySignature } from '../../../src/routing/identity-signature.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
let lines: string[];
beforeEach(async () => {
  scratch = await Scratch.create();
  lines = [];
});
afterEach(() => scratch.dispose());

function load(options: Partial<IdentityOptions> = {}) {
  const logger = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  return loadIdentity({
    storePath: scratch.path,
    nodeName: 'node-1',
    machineIdPath: scratch.join('machine-id'),
    logger,
    ...options,
  });
}

test('the identity survives a restart, and each start has an incarnation of its own', async () => {
  await writeFile(scratch.join('machine-id'), 'aaaa\n');
  const first = await load();
  const second = await load();
  const third = await load();
  expect([second.peerId, third.peerId]).toEqual([first.peerId, first.peerId]);
  expect([first.incarnation, second.incarnation, third.incarnation]).toEqual([1, 2, 3]);
  expect(lines).toEqual([]);
});

test('only the owner can read the file, and nothing else is left beside it', async () => {
  await load();
  expect((await stat(scratch.join('identity'))).mode & 0o777).toBe(0o600);
  expect(await readdir(scratch.path)).toEqual(['identity']);
});

test('the peer id is what libp2p makes of the key', async () => {
  const identity = await load();
  expect(identity.peerId).toBe(peerIdFromPrivateKey(identity.privateKey).toString());
  expect(identity.peerId).toMatch(/^12D3KooW/);
});

test('the store is created if it is missing', async () => {
  const storePath = scratch.join('a', 'store');
  expect((await load({ storePath })).incarnation).toBe(1);
  expect((await load({ storePath })).incarnation).toBe(2);
});

test('a disk copied to another machine, or used under another node name, gets a new identity', async () => {
  await writeFile(scratch.join('machine-id'), 'aaaa');
  const first = await load();
  await writeFile(scratch.join('machine-id'), 'bbbb');
  const copied = await load();
  expect(copied.peerId).not.toBe(first.peerId);
  expect(copied.incarnation).toBe(1);
  const renamed = await load({ nodeName: 'node-2' });
  expect(renamed.peerId).not.toBe(copied.peerId);
  expect((await load({ nodeName: 'node-2' })).peerId).toBe(renamed.peerId);
});

test('a machine id that is not known on one side says nothing, and is noted when it shows', async () => {
  const first = await load();
  await writeFile(scratch.join('machine-id'), 'aaaa');
  expect((await load()).peerId).toBe(first.peerId);
  expect((await load({ machineIdPath: scratch.join('absent') })).peerId).toBe(first.peerId);
  await writeFile(scratch.join('machine-id'), 'bbbb');
  expect((await load()).peerId).not.toBe(first.peerId);
});

test.each(['', '{', '{"key":"short"}', '[]', '\0\0\0'])(
  'a damaged file (%j) is kept aside for a new identity',
  async (text) => {
    await writeFile(scratch.join('identity'), text);
    const identity = await load();
    expect(identity.incarnation).toBe(1);
    expect(await readFile(scratch.join('identity.damaged'), 'utf8')).toBe(text);
    expect(lines.join()).toContain('damaged');
    expect((await load()).peerId).toBe(identity.peerId);
  },
);

test('what is logged of a damaged file does not quote its key', async () => {
  await load();
  const text = await readFile(scratch.join('identity'), 'utf8');
  const { key } = JSON.parse(text);
  await writeFile(scratch.join('identity'), text.slice(0, -3));
  await load();
  expect(lines).toHaveLength(1);
  expect(lines.join()).not.toContain(key);
});

test('where nothing can be written, a new identity is used each time, never an incarnation twice', async () => {
  await load();
  const storePath = scratch.join('file');
  await writeFile(storePath, 'not a folder');
  const [first, second] = [await load({ storePath }), await load({ storePath })];
  expect(first.peerId).not.toBe(second.peerId);
  expect(lines.join()).toContain('cannot be written');
});

test('one that cannot be read now is not taken for damaged: another one is used for this start', async () => {
  // As EIO or EACCES are for others: root may read everything.
  await mkdir(scratch.join('identity'));
  const [first, second] = [await load(), await load()];
  expect(first.peerId).not.toBe(second.peerId);
  expect(lines.join()).toContain('cannot be read');
  expect(await readdir(scratch.path)).toEqual(['identity']);
});

test('signatures hold for their signer and their bytes alone', async () => {
  const one = await load();
  const other = await load({ nodeName: 'other' });
  const bytes = Buffer.from('some bytes');
  const signature = one.sign(bytes);
  expect(verifySignature(one.peerId, bytes, signature)).toBe(true);
  expect(verifySignature(one.peerId, Buffer.from('some bytez'), signature)).toBe(false);
  expect(verifySignature(other.peerId, bytes, signature)).toBe(false);
  expect(verifySignature(one.peerId, bytes, signature.subarray(1))).toBe(false);
});

test.each([
  '',
  'nonsense',
  '0OIl'.repeat(13),
  '1'.repeat(52),
  'z'.repeat(1_000_000),
  'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
])('a peer id that is none (%.20s) has no valid signature, and nothing throws', (peerId) => {
  expect(verifySignature(peerId, new Uint8Array(1), new Uint8Array(64))).toBe(false);
});
