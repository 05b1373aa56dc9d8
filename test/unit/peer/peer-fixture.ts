import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterEach } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';
import { PeerClient, type PeerClientOptions } from '../../../src/peer/peer-client.ts';
import { PeerServer, type PeerServerOptions } from '../../../src/peer/peer-server.ts';
import type { Parent } from '../../../src/pull/claims/messages.ts';
import type { PeerEvent, PeerOffers } from '../../../src/pull/peer-streams.ts';
import { PIECE_BYTES, type Piece } from '../../../src/pull/piece.ts';
import { ClusterSecrets } from '../../../src/routing/cluster-secret.ts';
import { type Identity, loadIdentity } from '../../../src/routing/identity.ts';
import { type Member, WIRE_VERSION } from '../../../src/routing/member.ts';
import type { CallHandler, CallPath } from '../../../src/routing/peer-calls.ts';
import { Scratch } from '../../support/scratch.ts';

const logger = pino({ level: 'silent' });
const open: Scratch[] = [];

export async function scratchOfTest(): Promise<Scratch> {
  const scratch = await Scratch.create();
  open.push(scratch);
  return scratch;
}

afterEach(async () => {
  for (const scratch of open.splice(0)) await scratch.dispose();
});

export async function newIdentity(): Promise<Identity> {
  const scratch = await scratchOfTest();
  return loadIdentity({ storePath: scratch.path, nodeName: 'test', logger, machineIdPath: scratch.join('none') });
}

export const SECRET = 'the secret of this cluster';

export async function secretsOf(...contents: string[]): Promise<ClusterSecrets> {
  const scratch = await scratchOfTest();
  await mkdir(scratch.path, { recursive: true });
  const files = contents.map((_, index) => scratch.join(`secret${index}`));
  for (const [index, path] of files.entries()) await writeFile(path, contents[index] ?? '');
  const secrets = new ClusterSecrets({ files, logger });
  await secrets.load();
  return secrets;
}

export const echo: CallHandler = async (from, body) => ({ from, body });
const handlers: Record<CallPath, CallHandler> = { claims: echo, index: echo, roster: echo, purge: echo };
const noOffers: PeerOffers = { offer: async () => undefined };

export interface StartedServer {
  readonly server: PeerServer;
  readonly identity: Identity;
  readonly metrics: Metrics;
  readonly member: Member;
  readonly parent: Parent;
}

export async function startServer(
  options: Partial<Omit<PeerServerOptions, 'handlers'>> & { handlers?: Partial<Record<CallPath, CallHandler>> } = {},
): Promise<StartedServer> {
  const identity = options.identity ?? (await newIdentity());
  const metrics = options.metrics ?? new Metrics();
  const server = new PeerServer({
    listen: { host: '127.0.0.1', port: 0 },
    encryption: 'tls',
    maxUploads: 16,
    uploadRateBytesPerSecond: 0,
    secrets: options.secrets ?? (await secretsOf(SECRET)),
    offers: noOffers,
    logger,
    ...options,
    identity,
    metrics,
    handlers: { ...handlers, ...options.handlers },
  });
  await server.start();
  const scratch = await scratchOfTest();
  scratch.defer(() => server.stop());
  return {
    server,
    identity,
    metrics,
    member: memberAt(identity.peerId, server.address),
    parent: { peerId: identity.peerId, dataAddress: server.address, role: 'holder' },
  };
}

export function memberAt(peerId: string, dataAddress: string): Member {
  return {
    peerId,
    dataAddress,
    incarnation: 1,
    sequence: 1,
    nodeName: 'test',
    zone: '',
    p2pAddresses: [],
    wireVersion: WIRE_VERSION,
    leaving: false,
  };
}

export async function startClient(options: Partial<PeerClientOptions> = {}): Promise<PeerClient> {
  const client = new PeerClient({
    encryption: 'tls',
    identity: options.identity ?? (await newIdentity()),
    secrets: options.secrets ?? (await secretsOf(SECRET)),
    logger,
    metrics: new Metrics(),
    ...options,
  });
  const scratch = await scratchOfTest();
  scratch.defer(() => client.close());
  return client;
}

export const soon = { signal: new AbortController().signal, timeoutMs: 15_000 };

export interface Blob {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

export function newBlob(sizeBytes: number): Blob {
  const bytes = randomBytes(sizeBytes);
  return { digest: parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`), bytes };
}

/** The hashes are not looked at here: they are of the right length. */
function pieceOf(blob: Blob, index: number): Piece {
  const bytes = blob.bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
  const hash = createHash('sha256').update(bytes).digest();
  return {
    index,
    bytes,
    written: blob.bytes.length,
    proof: { hash, signer: '12D3KooWsigner', signature: Buffer.alloc(64, index) },
  };
}

export async function* piecesOf(blob: Blob, offset = 0): AsyncGenerator<PeerEvent> {
  for (let index = Math.floor(offset / PIECE_BYTES); index * PIECE_BYTES < blob.bytes.length; index += 1) {
    yield { type: 'piece', piece: pieceOf(blob, index) };
  }
}

/** Holds these, whole. */
export function holding(...blobs: Blob[]): PeerOffers {
  return {
    offer: async (digest, { offset }) => {
      const blob = blobs.find((held) => held.digest === digest);
      return blob && { sizeBytes: blob.bytes.length, path: [], events: piecesOf(blob, offset) };
    },
  };
}

/** All bytes of a stream's pieces, from where it begins. */
export async function readAll(events: AsyncIterable<PeerEvent>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const event of events) if (event.type === 'piece') parts.push(Buffer.from(event.piece.bytes));
  return Buffer.concat(parts);
}
