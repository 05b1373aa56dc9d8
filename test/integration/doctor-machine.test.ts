import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkClock } from '../../src/doctor/clock-check.ts';
import { checkDisk } from '../../src/doctor/disk-check.ts';
import { parseImageName } from '../../src/doctor/image-name.ts';
import { checkMirror } from '../../src/doctor/mirror-check.ts';
import { checkPeers } from '../../src/doctor/peers-check.ts';
import { readStatus } from '../../src/status/status-client.ts';
import { AgentCluster } from '../support/agent-cluster.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { run, tryCommand } from '../support/commands.ts';
import { codesOf, doctor, emptyRoot, findingsOf, subjectWith } from '../support/doctor.ts';
import { eventually } from '../support/eventually.ts';
import { rootMissing } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

describe('windlass doctor and other agents', () => {
  let scratch: Scratch;
  let cluster: AgentCluster;
  const CLOSED = '/ip4/127.0.0.1/tcp/9';

  beforeAll(async () => {
    scratch = await Scratch.create();
    cluster = await AgentCluster.start(scratch, {
      agents: 3,
      registries: { 'registry.example': 'http://127.0.0.1:9' },
      // The others are told an address at which it is not.
      settingsOf: (index) => (index === 2 ? { p2p: { announce: [CLOSED] } } : {}),
    });
  });
  afterAll(() => scratch?.dispose());

  const look = async (index: number) => {
    const { configPath, statusUrl } = cluster.agent(index);
    // Who is silent for a moment on a busy machine is not in question here.
    const others = async () => {
      const status = await readStatus(statusUrl, AbortSignal.timeout(60_000));
      return status.peers.length === 2 && { ...status, gone: [], unmet: [] };
    };
    const status = await eventually(others, { timeoutMs: 120_000, what: 'two other agents' });
    return { subject: await subjectWith([`--config=${configPath}`]), status };
  };

  test('reach each other on both ports, but for one that says a wrong address', async () => {
    const { subject, status } = await look(0);
    const { findings, seen } = await checkPeers(subject, status);
    expect(findings).toMatchObject([{ code: 'peers-unreachable-p2p', about: [expect.stringMatching(/^node-2 /)] }]);
    expect(seen).toBe('1 of 2 other agents can be reached on both ports');
    // A look is no stranger's try at the door.
    expect(await cluster.metric('windlass_peer_refused_total', { reason: 'stranger' })).toBe(0);
    const fromWrong = await look(2);
    expect(await checkPeers(fromWrong.subject, fromWrong.status)).toMatchObject({ findings: [] });
  });

  test('cannot be reached on their data port, or are others than they should be', async () => {
    const { subject, status } = await look(2);
    const [first, second] = status.peers;
    const told = (dataAddress = '') => ({ ...status, peers: [{ ...(first ?? status.peers[0]), dataAddress }] });
    expect(await checkPeers(subject, told('127.0.0.1:9') as typeof status)).toMatchObject({
      findings: [{ code: 'peers-unreachable-peer', about: [expect.stringMatching(/^node-0 .*ECONNREFUSED/)] }],
    });
    expect(await checkPeers(subject, told(second?.dataAddress) as typeof status)).toMatchObject({
      findings: [{ code: 'peers-strange', about: [expect.stringMatching(/^node-0 .*another answers/)] }],
    });
    // Something listens there, and is no libp2p.
    const p2pAddresses = [`/ip4/127.0.0.1/tcp/${cluster.agent(0).mirrorPort}`];
    const web = { ...status, peers: status.peers.map((peer) => ({ ...peer, p2pAddresses })) };
    expect(await checkPeers(subject, web)).toMatchObject({
      findings: [{ code: 'peers-unreachable-p2p', about: Array(2).fill(expect.stringMatching(/no libp2p/)) }],
    });
  });

  test('are named by discovery, and not to be reached, or no members', async () => {
    const { subject, status } = await look(0);
    const unmet = [{ address: '127.0.0.1:9', nodeName: 'n9' }];
    const about = [expect.stringMatching(/^n9 .*127\.0\.0\.1:9: ECONNREFUSED/)];
    expect(await checkPeers(subject, { ...status, unmet })).toMatchObject({
      findings: [{ code: 'peers-unreachable-p2p' }, { code: 'peers-unmet', severity: 'warning', about }],
    });
    expect(await checkPeers(subject, { ...status, peers: [], unmet })).toMatchObject({
      findings: [{ code: 'peers-none', severity: 'error', about }],
    });
    const [p2pAddress = ''] = status.peers[0]?.p2pAddresses ?? [];
    const address = p2pAddress.replace('/ip4/', '').replace('/tcp/', ':');
    const closed = await checkPeers(subject, { ...status, peers: [], unmet: [{ address, nodeName: null }] });
    expect(closed.findings).toMatchObject([{ code: 'peers-none', severity: 'error' }]);
    expect(closed.findings[0]?.mend).toMatch(/same cluster secret/);
  });

  test('that went without a word are looked for where they were', async () => {
    const { subject, status } = await look(0);
    const { dataAddress, ...rest } = { ...status.peers[0], dataAddress: '127.0.0.1:9' };
    const gone = { nodeName: 'n9', zone: '', goneMs: 1, dataAddress, p2pAddresses: rest.p2pAddresses ?? [] };
    const told = (state: 'dead' | 'left') => ({ ...status, peers: [], gone: [{ ...gone, state }] });
    expect(await checkPeers(subject, told('dead'))).toMatchObject({
      findings: [{ code: 'peers-none', severity: 'error', about: [expect.stringMatching(/^n9 .*ECONNREFUSED/)] }],
    });
    expect(await checkPeers(subject, told('left'))).toMatchObject({
      findings: [{ code: 'peers-none', severity: 'warning' }],
    });
  });

  test('are not there', async () => {
    const { subject, status } = await look(0);
    expect(await checkPeers(subject, { ...status, peers: [] })).toMatchObject({
      findings: [{ code: 'peers-none', severity: 'warning' }],
    });
  });
});

describe('windlass doctor on a node that nobody has met', () => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  test('the agent says whom discovery names, itself left out', async () => {
    const cluster = await AgentCluster.start(scratch, {
      agents: 1,
      registries: { 'registry.example': 'http://127.0.0.1:9' },
      settingsOf: () => ({ discovery: { kind: 'static', peers: ['127.0.0.1:9'] } }),
    });
    const { configPath } = cluster.agent(0);
    const args = [
      'doctor',
      '--json',
      '--no-pull',
      '--timeout',
      '60',
      `--config=${configPath}`,
      `--root=${scratch.path}`,
    ];
    const { code, stdout } = await tryCommand(process.execPath, [MAIN, ...args], { timeoutMs: 120_000 });
    const { checks } = JSON.parse(stdout);
    const peers = findingsOf(checks).filter((finding) => finding.code.startsWith('peers-'));
    expect({ code, peers }).toMatchObject({
      code: 3,
      peers: [
        { code: 'peers-none', severity: 'error', about: [expect.stringMatching(/127\.0\.0\.1:9: ECONNREFUSED/)] },
      ],
    });
  });

  test('its own address among them is none of another', async () => {
    const cluster = await AgentCluster.start(scratch, {
      agents: 1,
      registries: { 'registry.example': 'http://127.0.0.1:9' },
    });
    const { configPath, statusUrl } = cluster.agent(0);
    const { unmet } = await readStatus(statusUrl, AbortSignal.timeout(60_000));
    expect(unmet).toEqual([]);
    const { findings } = await checkPeers(
      await subjectWith([`--config=${configPath}`]),
      await readStatus(statusUrl, AbortSignal.timeout(60_000)),
    );
    expect(findings).toMatchObject([{ code: 'peers-none', severity: 'warning' }]);
  });
});

describe('windlass doctor and the machine', () => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  test.each([
    [0, undefined],
    [-7_200, /is 7[12]\d\d s ahead of that of registry\.example/],
    [7_200, /is 7[12]\d\d s behind that of registry\.example/],
  ])("a registry's clock that is %d s apart", async (seconds, what) => {
    const server = createServer((_request, response) => {
      response
        .setHeader('date', new Date(Date.now() + seconds * 1000).toUTCString())
        .writeHead(401)
        .end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const entry = JSON.stringify([{ host: 'registry.example', endpoint: `http://127.0.0.1:${port}` }]);
      const { findings, skipped } = await checkClock(await subjectWith([`--registries=${entry}`]));
      expect(skipped).toBe(false);
      const expected = what === undefined ? [] : [{ code: 'clock-apart', what: expect.stringMatching(what) }];
      expect(findings).toMatchObject(expected);
    } finally {
      server.close();
    }
  });

  test('an image that wants credentials is told from one that is not there', async () => {
    const server = createServer(({ url = '' }, response) =>
      response.writeHead(url.includes('/private/') ? 403 : 404).end(),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    scratch.defer(() => server.close());
    const { port } = server.address() as AddressInfo;
    const agent = await AgentProcess.start(scratch, { registries: { 'registry.example': `http://127.0.0.1:${port}` } });
    const subject = await subjectWith([`--config=${agent.configPath}`]);
    const look = async (name: string) =>
      (await checkMirror(subject, parseImageName(`registry.example/${name}:1`), 't')).findings;
    expect(await look('private/a')).toMatchObject([{ code: 'image-private', severity: 'warning' }]);
    expect(await look('absent/a')).toMatchObject([{ code: 'image-not-found', severity: 'error' }]);
  });

  const noRoot = rootMissing() === undefined ? '' : ` [skipped: ${rootMissing()}]`;
  test.skipIf(noRoot !== '')(`a disk that is full, one that is small, and one without inodes${noRoot}`, async () => {
    const disk = scratch.join('disk');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=8m,nr_inodes=64', 'tmpfs', disk]);
    scratch.defer(() => run('umount', ['-l', disk]));
    const look = async (...more: string[]) => {
      const { findings } = await checkDisk(await subjectWith([`--store.path=${disk}/store`, ...more]));
      return findings.map(({ code }) => code);
    };
    expect(await look('--store.max-size=4MiB')).toEqual([]);
    expect(await look()).toEqual(['disk-small']);
    await writeFile(`${disk}/large`, Buffer.alloc(7 * 1024 * 1024));
    expect(await look()).toEqual(['disk-full']);
    await rm(`${disk}/large`);
    for (let count = 0; count < 61; count++) await writeFile(`${disk}/${count}`, '');
    expect(await look('--store.max-size=4MiB')).toEqual(['disk-inodes']);
  });

  test.skipIf(noRoot !== '')(`limits that are low; no containerd, no agent, no configuration${noRoot}`, async () => {
    const script =
      'echo 100 > /proc/sys/net/core/somaxconn && echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@"';
    const nowhere = ['certs-dir', 'config-file', 'socket'].map(
      (one) => `--containerd.${one}=${scratch.join('nowhere')}`,
    );
    const args = [
      'doctor',
      '--json',
      `--root=${await emptyRoot(scratch)}`,
      `--store.path=${scratch.path}`,
      '--store.min-free=1%',
      ...nowhere,
    ];
    const { code, stdout, stderr } = await tryCommand('unshare', [
      ...['--net', '--user', '--map-root-user', 'sh', '-c', script, process.execPath, MAIN, ...args],
    ]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(codesOf(JSON.parse(stdout).checks)).toEqual([
      'agent-away',
      'socket-silent',
      'config-path-unset',
      'hosts-toml-no-file',
      'mirror-away',
      'limit-backlog',
      'limit-inotify',
    ]);
  });

  test('an agent whose limit of open files is under its settings', async () => {
    const agent = await AgentProcess.start(scratch, {
      registries: { 'registry.example': 'http://127.0.0.1:9' },
      settings: { mirror: { maxConnections: 1_000_000 } },
    });
    // That of AgentProcess's own listeners stays, and so does the rest of what is not there.
    const address = `127.0.0.1:${agent.mirrorPort}`;
    const more = ['--mirror.max-connections=1000000', `--mirror.listen=${address}`];
    expect(codesOf(await doctor([`--config=${agent.configPath}`, ...more], scratch.path, { pull: false }))).toContain(
      'limit-open-files',
    );
  });
});
