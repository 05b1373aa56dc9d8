import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import type { Logger } from 'pino';
import { z } from 'zod';
import { systemCode } from '../errors.ts';
import { peerIdOfKey } from './identity-peer-id.ts';
import type { PeerId } from './member.ts';

/** Who this agent is: an Ed25519 key, and how often it has been started with it. */
export interface Identity {
  readonly peerId: PeerId;
  /** From 1 on; one more at each start. */
  readonly incarnation: number;
  /** For TLS. */
  readonly keyPair: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  /** The same key, as libp2p wants it. */
  readonly privateKey: Ed25519PrivateKey;
  /** Ed25519; 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

export interface IdentityOptions {
  /** The identity is the file `identity` in it. */
  readonly storePath: string;
  readonly nodeName: string;
  readonly logger: Logger;
  readonly machineIdPath?: string;
}

const identityFile = z.object({
  /** The key's 32 bytes, base64url. */
  key: z.base64url().length(43),
  /** Null where it is not known. */
  machineId: z.string().nullable(),
  nodeName: z.string(),
  incarnation: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
});
type IdentityFile = z.infer<typeof identityFile>;

/**
 * Reads the identity and counts the start, or makes a new one: if there is none, if it is damaged (kept aside), or if
 * the disk was copied (another node name or machine id). Where it cannot be read now, or written, another one is good
 * for this start only, so that an incarnation is never used twice. Never rejects.
 */
export async function loadIdentity(options: IdentityOptions): Promise<Identity> {
  const { storePath, nodeName, logger, machineIdPath = '/etc/machine-id' } = options;
  const path = join(storePath, 'identity');
  const machineId = await readMachineId(machineIdPath);
  let old: IdentityFile | undefined;
  try {
    old = await readIdentity(path, logger);
  } catch (err) {
    logger.warn({ path, err }, 'the identity cannot be read: a new one is used until the next start');
    return toIdentity({ key: newKey(), machineId, nodeName, incarnation: 1 });
  }
  const why = old && otherNode(old, machineId, nodeName);
  if (why !== undefined) logger.warn({ path, why }, 'the identity is that of another node: a new one is made');
  const next: IdentityFile =
    old === undefined || why !== undefined
      ? { key: newKey(), machineId, nodeName, incarnation: 1 }
      : { ...old, machineId: machineId ?? old.machineId, incarnation: old.incarnation + 1 };
  try {
    await mkdir(storePath, { recursive: true, mode: 0o700 });
    await writeDurably(storePath, path, JSON.stringify(next));
  } catch (err) {
    logger.warn({ path, err }, 'the identity cannot be written: a new one is used until the next start');
    return toIdentity({ ...next, key: newKey(), incarnation: 1 });
  }
  return toIdentity(next);
}

function toIdentity({ key, incarnation }: IdentityFile): Identity {
  const privateKey = importKey(key);
  const publicKey = createPublicKey(privateKey);
  const raw = Buffer.concat([
    Buffer.from(key, 'base64url'),
    publicKey.export({ type: 'spki', format: 'der' }).subarray(-32),
  ]);
  const libp2pKey = privateKeyFromRaw(raw);
  if (libp2pKey.type !== 'Ed25519') throw new TypeError(`expected an Ed25519 key, got ${libp2pKey.type}`);
  return {
    peerId: peerIdOfKey(publicKey),
    incarnation,
    keyPair: { privateKey, publicKey },
    privateKey: libp2pKey,
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

/** PKCS#8 of an Ed25519 key, up to its 32 bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

function importKey(key: string): KeyObject {
  const der = Buffer.concat([PKCS8_PREFIX, Buffer.from(key, 'base64url')]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(PKCS8_PREFIX.length).toString('base64url');
}

function otherNode(file: IdentityFile, machineId: string | null, nodeName: string): string | undefined {
  if (file.nodeName !== nodeName) return 'other node name';
  // Known on both sides only: a container may or may not see the host's.
  if (file.machineId !== null && machineId !== null && file.machineId !== machineId) return 'other machine id';
  return undefined;
}

/** @throws the system's error. */
async function readIdentity(path: string, logger: Logger): Promise<IdentityFile | undefined> {
  try {
    return identityFile.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    // EIO, EACCES, EMFILE: what is there may be good.
    if (systemCode(error) !== undefined) throw error;
    const aside = `${path}.damaged`;
    // Without its message: a parser quotes what it read, and that is a private key.
    logger.warn({ path, aside }, 'the identity is damaged: kept aside, a new one is made');
    await rename(path, aside).catch((err) => logger.warn({ path, err }, 'the damaged identity cannot be kept aside'));
    return undefined;
  }
}

async function readMachineId(path: string): Promise<string | null> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    // What systemd writes into images before their first boot.
    return text === '' || text === 'uninitialized' ? null : text;
  } catch {
    return null;
  }
}

/** Either the old contents or the new, whenever the power fails. */
async function writeDurably(folder: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
