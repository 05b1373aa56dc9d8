/**
 * CPU of the data plane between two agents: `node test/bench/peer-stream.ts [MiB]`. Sender and receiver are processes of
 * their own, joined by a veth pair whose sending end is unlimited or limited by tc tbf; the sender has its pieces in
 * memory, the receiver drops them: neither disks nor hashes are in it. Beside our own client the same stream is read by
 * undici and by node:https, which take no frames apart. Needs root.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { Agent, request as undiciRequest } from 'undici';
import { Metrics } from '../../src/metrics/metrics.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { Membership, PROOF_HEADER } from '../../src/peer/membership.ts';
import { PeerClient } from '../../src/peer/peer-client.ts';
import { PeerServer } from '../../src/peer/peer-server.ts';
import { tlsOptions } from '../../src/peer/tls-options.ts';
import type { PeerEvent } from '../../src/pull/peer-streams.ts';
import { PIECE_BYTES } from '../../src/pull/piece.ts';
import { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import { loadIdentity } from '../../src/routing/identity.ts';
import { Scratch } from '../support/scratch.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { ThrottledLink } from './throttled-link.ts';

type Encryption = 'tls' | 'none';
type Reader = 'ours' | 'undici' | 'https';

const GIB = 1024 ** 3;
const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`);
const WARM_BYTES = 64 * 1024 ** 2;
const LINKS = [undefined, 1000, 200, 50] as const;
const SELF = fileURLToPath(import.meta.url);
const logger = pino({ level: 'error' }, pino.destination(2));

const [role = '128', ...args] = process.argv.slice(2);
if (role === 'sender') await send(args);
else if (role === 'receiver') await receive(args);
else await compare(Number(role));

async function compare(mebibytes: number): Promise<void> {
  const scratch = await Scratch.create();
  try {
    const link = await ThrottledLink.create(scratch);
    const secret = scratch.join('secret');
    await writeFile(secret, 'of a benchmark, and of nothing else');
    console.log(`${mebibytes} MiB a run (unlimited: 8 times that); CPU-s per GiB of sender and receiver; MiB/s`);
    for (const encryption of ['tls', 'none'] as const) {
      const sender = start(
        scratch,
        ['ip', 'netns', 'exec', link.namespace, process.execPath, SELF],
        [...['sender', scratch.join(`sender-${encryption}`), secret, encryption, link.address]],
      );
      const { address, peerId } = await sender.line();
      for (const megabits of LINKS) {
        const bytes = mebibytes * 1024 ** 2 * (megabits === undefined ? 8 : megabits === 1000 ? 2 : 1);
        for (const reader of encryption === 'tls' ? (['ours', 'undici', 'https'] as const) : (['ours'] as const)) {
          const receiver = start(
            scratch,
            [process.execPath, SELF],
            [...['receiver', scratch.join('receiver'), secret, encryption, String(address), String(peerId), reader]],
          );
          await receiver.line();
          // Once to be warm.
          await link.limit(undefined);
          receiver.say(`${WARM_BYTES}`);
          await receiver.line();
          await link.limit(megabits);
          const before = [await cpuSeconds(sender.pid), await cpuSeconds(receiver.pid)];
          const startMs = performance.now();
          receiver.say(`${bytes}`);
          await receiver.line();
          const seconds = (performance.now() - startMs) / 1000;
          const after = [await cpuSeconds(sender.pid), await cpuSeconds(receiver.pid)];
          const [sent, received] = after.map((cpu, i) => ((cpu - (before[i] ?? 0)) * GIB) / bytes);
          await receiver.end();
          console.log(
            [
              (megabits === undefined ? 'no limit' : `${megabits} Mbit/s`).padEnd(11),
              encryption.padEnd(5),
              reader.padEnd(7),
              `sender ${sent?.toFixed(2)}, receiver ${received?.toFixed(2)}`,
              `${(bytes / 1024 ** 2 / seconds).toFixed(0)} MiB/s`,
            ].join('  '),
          );
        }
      }
      await sender.end();
    }
  } finally {
    await scratch.dispose();
  }
}

async function parts(storePath: string, secretFile: string) {
  const identity = await loadIdentity({ storePath, nodeName: 'bench', logger });
  const secrets = new ClusterSecrets({ files: [secretFile], logger });
  await secrets.load();
  return { identity, secrets };
}

async function send([storePath = '', secretFile = '', encryption, host = '']: string[]): Promise<void> {
  const piece = Buffer.alloc(PIECE_BYTES, 'bytes that nobody looks at ');
  const proof = { hash: Buffer.alloc(32), signer: '12D3KooWbench', signature: Buffer.alloc(64) };
  const nothing = async () => null;
  const { identity, secrets } = await parts(storePath, secretFile);
  const server = new PeerServer({
    listen: { host, port: 0 },
    encryption: encryption as Encryption,
    maxUploads: 16,
    uploadRateBytesPerSecond: 0,
    identity,
    secrets,
    handlers: { claims: nothing, index: nothing, roster: nothing, purge: nothing },
    offers: {
      // Without an end: the receiver says how much it wants.
      offer: async () => ({
        sizeBytes: undefined,
        path: [],
        events: (async function* (): AsyncGenerator<PeerEvent> {
          for (let index = 0; ; index += 1) yield { type: 'piece', piece: { index, bytes: piece, written: 0, proof } };
        })(),
      }),
    },
    logger,
    metrics: new Metrics(),
  });
  await server.start();
  console.log(JSON.stringify({ address: server.address, peerId: identity.peerId }));
}

async function receive(all: string[]): Promise<void> {
  const [storePath = '', secretFile = '', encryption, address = '', peerId = '', reader] = all;
  const { identity, secrets } = await parts(storePath, secretFile);
  const client = new PeerClient({
    encryption: encryption as Encryption,
    identity,
    secrets,
    logger,
    metrics: new Metrics(),
  });
  const headers = { [PROOF_HEADER]: await new Membership(identity.peerId, secrets).prove(peerId) };
  const url = `https://${address}/windlass/v1/blobs/${DIGEST}`;
  const tls = tlsOptions(identity);
  const dispatcher = new Agent({ connect: { ...tls } });
  const { signal } = new AbortController();
  console.log('{}');
  for await (const line of createInterface(process.stdin)) {
    await take(Number(line));
    console.log('{}');
  }
  process.exit(0);

  async function take(wanted: number): Promise<void> {
    let bytes = 0;
    if ((reader as Reader) === 'ours') {
      const parent = { peerId, dataAddress: address, role: 'holder' } as const;
      for await (const event of (await client.open(parent, DIGEST, { offset: 0, signal })).events) {
        if (event.type === 'piece') bytes += event.piece.bytes.length;
        if (bytes >= wanted) return;
      }
    }
    const body =
      reader === 'undici'
        ? (await undiciRequest(url, { headers, dispatcher })).body
        : ((await once(request(url, { headers, ...tls }).end(), 'response'))[0] as AsyncIterable<Buffer>);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes >= wanted) return;
    }
  }
}

function start(scratch: Scratch, [command = '', ...before]: string[], args: string[]) {
  const child: ChildProcess = spawn(command, [...before, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout as NonNullable<typeof child.stdout>)[Symbol.asyncIterator]();
  const exited = once(child, 'exit');
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  scratch.defer(end);
  return {
    pid: child.pid ?? 0,
    line: async () => JSON.parse((await lines.next()).value ?? '{}') as Record<string, unknown>,
    say: (text: string) => child.stdin?.write(`${text}\n`),
    end,
  };
}
