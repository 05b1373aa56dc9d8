import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../src/demo/free-ports.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { PeerClient } from '../../src/peer/peer-client.ts';
import { tlsOptions } from '../../src/peer/tls-options.ts';
import { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import { type Identity, loadIdentity } from '../../src/routing/identity.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { EvilAgent } from '../support/evil-agent.ts';
import { selfSigned } from '../support/fake-registry/self-signed.ts';
import { Scratch } from '../support/scratch.ts';

const AGENTS = 2;
const NODE_NAMES = ['a-secret-node-name', 'another-node-name'];
const DIGEST = parseDigest(`sha256:${'5'.repeat(64)}`);
/** The peer's own 401, without a body. */
const TURNED_AWAY = 'HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

describe('a stranger at a real agent', () => {
  let scratch: Scratch;
  let cluster: AgentCluster;
  let agent: AgentProcess;
  let dataPort: number;
  let p2pPort: number;
  let seeds: string[];
  let identity: Identity;
  let peerIds: string[];

  beforeAll(async () => {
    scratch = await Scratch.create();
    const ports = await freePorts(2 * AGENTS);
    const p2pPorts = ports.slice(0, AGENTS);
    seeds = p2pPorts.map((port) => `127.0.0.1:${port}`);
    cluster = await AgentCluster.start(scratch, {
      agents: AGENTS,
      registries: { 'docker.io': 'http://127.0.0.1:1' },
      settings: { discovery: { kind: 'static', peers: seeds } },
      settingsOf: (index) => ({
        node: { name: NODE_NAMES[index] },
        p2p: { listen: [`/ip4/127.0.0.1/tcp/${ports[index]}`] },
        peer: { listen: `127.0.0.1:${ports[AGENTS + index]}` },
      }),
    });
    agent = cluster.agent(0);
    [p2pPort = 0] = p2pPorts;
    dataPort = ports[AGENTS] ?? 0;
    const logger = pino({ level: 'silent' });
    identity = await loadIdentity({ storePath: scratch.join('stranger'), nodeName: 'stranger', logger });
    // What nobody outside is to learn: as a member hears it.
    const member = await EvilAgent.start(scratch, { secretFile: cluster.secretFile, seeds });
    await eventually(() => member.others.length === AGENTS);
    peerIds = member.others.map(({ peerId }) => peerId);
    // Else it may be heard of only after this, by a test that counts.
    await eventually(async () => (await members()) === AGENTS);
    await member.stop();
    await eventually(async () => (await members()) === AGENTS - 1);
  }, 120_000);
  afterAll(() => scratch?.dispose());

  const refused = (plane: 'data' | 'p2p') => agent.metric('windlass_peer_refused_total', { plane });
  const members = () => agent.metric('windlass_peers');

  /** Nothing of the cluster stands in it. */
  function tellsNothing(said: string): void {
    for (const word of [...peerIds, ...NODE_NAMES, 'windlass', 'node', 'sha256:', '12D3KooW', '127.0.0.1']) {
      expect(said.toLowerCase()).not.toContain(word.toLowerCase());
    }
  }

  /** What comes back until the agent ends the connection. */
  function talk(port: number, options: ConnectionOptions | undefined, text: string | Buffer): Promise<string> {
    return new Promise((resolve) => {
      const where = { host: '127.0.0.1', port };
      const socket =
        options === undefined ? connectTcp(where) : connect({ ...where, rejectUnauthorized: false, ...options });
      let said = '';
      socket.on('data', (bytes: Buffer) => {
        said += bytes.toString('latin1');
      });
      socket.on('error', () => {}).once('close', () => resolve(said));
      socket.write(text);
    });
  }

  function ask(what: string, headers = ''): string {
    return `${what} HTTP/1.1\r\nhost: x\r\n${headers}content-length: 2\r\n\r\n{}`;
  }

  const questions = [
    'GET /',
    'GET /metrics',
    'GET /v2/',
    'GET /windlass/v1/hello',
    `GET /windlass/v1/blobs/${DIGEST}`,
    'POST /windlass/v1/claims',
    'POST /windlass/v1/roster',
    'POST /windlass/v1/index',
    'POST /windlass/v1/purge',
    'OPTIONS *',
  ];
  const certificates: readonly (readonly [string, () => Promise<ConnectionOptions>])[] = [
    ['no certificate', async () => ({})],
    ['a certificate of another kind of key', async () => selfSigned(scratch, 'stranger')],
    ['a certificate of an identity of its own', async () => tlsOptions(identity)],
  ];

  it.each(certificates)('with %s, over TLS, gets 401 and no more, whatever it asks', async (_, certificate) => {
    const before = await refused('data');
    const options = await certificate();
    const proofs = ['', `windlass-proof: ${randomBytes(32).toString('base64url')}\r\n`];
    for (const proof of proofs) {
      for (const question of questions) expect(await talk(dataPort, options, ask(question, proof))).toBe(TURNED_AWAY);
    }
    // Node ends such a connection by itself.
    expect(await talk(dataPort, options, ask('CONNECT x:1'))).toBe('');
    await eventually(async () => (await refused('data')) > before + proofs.length * questions.length);
    expect(await members()).toBe(AGENTS - 1);
  });

  it('that speaks plain HTTP to the TLS port, or junk, or older TLS, learns nothing', async () => {
    const before = await refused('data');
    const lines: (string | Buffer)[] = [ask('GET /'), 'SSH-2.0-x\r\n', Buffer.alloc(5_000, 0x16), randomBytes(10_000)];
    for (const line of lines) tellsNothing(await talk(dataPort, undefined, line));
    tellsNothing(await talk(dataPort, { maxVersion: 'TLSv1.2' }, ask('GET /')));
    await eventually(async () => (await refused('data')) >= before + lines.length + 1);
  });

  it('gets a certificate with a key in it, and no name', async () => {
    const socket = connect({ host: '127.0.0.1', port: dataPort, rejectUnauthorized: false });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const { subject, issuer, subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    tellsNothing(JSON.stringify({ ...subject, ...issuer, subjectaltname }).replace(/12D3KooW\w+/g, ''));
  });

  it('with our own client and another secret is refused on each path', async () => {
    const before = await refused('data');
    const file = scratch.join('another-secret');
    await writeFile(file, randomBytes(32).toString('hex'));
    const logger = pino({ level: 'silent' });
    const secrets = new ClusterSecrets({ files: [file], logger });
    await secrets.load();
    const client = new PeerClient({ encryption: 'tls', identity, secrets, logger, metrics: new Metrics() });
    scratch.defer(() => client.close());
    const options = { signal: AbortSignal.timeout(60_000), timeoutMs: 60_000 };
    for (const path of ['claims', 'index', 'roster', 'purge'] as const) {
      const call = client.call(`127.0.0.1:${dataPort}`, path, {}, options);
      await expect(call).rejects.toMatchObject({ code: 'PEER_DENIED' });
    }
    expect(await refused('data')).toBeGreaterThanOrEqual(before + 4);
    // On libp2p as well: it never becomes a member.
    const p2pBefore = await refused('p2p');
    const stranger = await EvilAgent.start(scratch, { secretFile: file, seeds });
    await eventually(async () => (await refused('p2p')) > p2pBefore);
    expect(stranger.others).toEqual([]);
    expect(stranger.control.peers).toEqual([]);
    expect(await members()).toBe(AGENTS - 1);
    await stranger.stop();
  });

  it('that is plain libp2p, with TLS and yamux, never gets as far as a protocol', async () => {
    const before = await refused('p2p');
    const told: unknown[] = [];
    const stock = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [tls()],
      streamMuxers: [yamux()],
      services: { identify: identify({ protocolPrefix: 'windlass' }) },
    });
    scratch.defer(() => stock.stop());
    stock.addEventListener('peer:identify', ({ detail }) => told.push(detail));
    stock.addEventListener('peer:connect', ({ detail }) => told.push(detail));
    await expect(stock.dial(multiaddr(`/ip4/127.0.0.1/tcp/${p2pPort}`))).rejects.toThrow();
    await eventually(async () => (await refused('p2p')) > before);
    expect(told).toEqual([]);
    expect(stock.getPeers()).toEqual([]);
  });

  it('that sends junk to the port of libp2p learns no more than that it selects protocols', async () => {
    const before = await refused('p2p');
    const lines = [ask('GET /'), Buffer.alloc(5_000, 0x16), randomBytes(10_000), '\x13/multistream/1.0.0\n\x04/xy\n'];
    for (const said of await Promise.all(lines.map((line) => talk(p2pPort, undefined, line)))) tellsNothing(said);
    await eventually(async () => (await refused('p2p')) >= before + lines.length);
  });

  it('is in the log: each kind of fault once, its address, and nothing that is secret', async () => {
    const lines = agent.logs().filter(({ level, msg }) => Number(level) >= 40 && String(msg).includes('refused'));
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'stranger refused', address: '127.0.0.1' }));
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'connection of another refused', reason: 'stranger' }));
    expect(agent.daemon.ended).toBe(false);
    expect(agent.logs().filter(({ level }) => Number(level) >= 50)).toEqual([]);
    // Members are members all the same.
    await cluster.settled();
  });
});
