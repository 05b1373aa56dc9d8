import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../src/demo/free-ports.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { digestOf, seededBytes } from '../support/image.ts';
import { pushBlob } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { describeWith, ipv6Missing } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1024 * 1024;

describe('the agent as a process', () => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create();
  });
  afterAll(() => scratch?.dispose());

  describeWith('on two addresses', [ipv6Missing], () => {
    it('serves IPv4 and IPv6 alike', async () => {
      const [port = 0] = await freePorts(1);
      const agent = await AgentProcess.start(scratch, {
        registries: { 'docker.io': 'http://registry.invalid' },
        settings: { mirror: { listen: [`127.0.0.1:${port}`, `[::1]:${port}`] } },
      });
      for (const host of ['127.0.0.1', '[::1]']) {
        expect((await httpGet(`http://${host}:${port}/v2/`)).status).toBe(200);
      }
      await agent.stop();
    });
  });

  describeWith('told to stop (SIGTERM) in the middle of pulls', [RealRegistry.missing], () => {
    it('says that it is not ready, to probes and in its metrics, while what runs is given its time', async () => {
      const registry = await RealRegistry.start(scratch);
      const proxy = await TcpProxy.start(scratch, { port: registry.port });
      const agent = await AgentProcess.start(scratch, {
        registries: { 'docker.io': proxy.url },
        settings: { stop: { gracePeriod: '2m' } },
      });
      const bytes = seededBytes('not ready', 4 * MIB);
      const digest = digestOf(bytes);
      await pushBlob(registry.url, 'library/x', { digest, bytes });
      expect(await agent.metric('windlass_ready')).toBe(1);

      proxy.stallAfter(MIB);
      const stalledAt = proxy.downBytes + MIB;
      const leaving = new AbortController();
      const pulling = httpGet(`${agent.mirrorUrl}/v2/library/x/blobs/${digest}`, { signal: leaving.signal });
      await proxy.passed(stalledAt);
      await agent.kill('SIGTERM');
      await eventually(async () => (await agent.metric('windlass_ready')) === 0);
      expect((await fetch(`${agent.statusUrl}/readyz`)).status).toBe(503);
      leaving.abort();
      await pulling.catch(() => {});
      await agent.daemon.exited;
    });

    it('accepts nothing new, ends what is left after the grace period with FIN, and resumes it after a restart', async () => {
      const registry = await RealRegistry.start(scratch);
      const proxy = await TcpProxy.start(scratch, { port: registry.port });
      const agent = await AgentProcess.start(scratch, {
        registries: { 'docker.io': proxy.url },
        settings: { stop: { gracePeriod: '2s' } },
      });
      const bytes = seededBytes('stopped', 16 * MIB);
      const digest = digestOf(bytes);
      await pushBlob(registry.url, 'library/x', { digest, bytes });
      await registry.forget();
      const url = `${agent.mirrorUrl}/v2/library/x/blobs/${digest}`;

      proxy.stallAfter(6 * MIB);
      const stalledAt = proxy.downBytes + 6 * MIB;
      const pulling = httpGet(url);
      await proxy.passed(stalledAt);
      await agent.kill('SIGTERM');
      // Nothing new is accepted while what runs is given its time.
      await expect(refused(agent.mirrorPort)).resolves.toBe(true);
      const cut = await pulling;
      expect(cut).toMatchObject({ status: 200, end: 'fin' });
      expect(cut.bytes.equals(bytes.subarray(0, cut.bytes.length))).toBe(true);
      await agent.daemon.exited;
      expect(agent.daemon.tail(1)).toMatch(/exit code 0/);

      proxy.cutAll();
      proxy.resume();
      await agent.start();
      const whole = await httpGet(url);
      expect(whole).toMatchObject({ status: 200, end: 'whole' });
      expect(whole.bytes.equals(bytes)).toBe(true);
      for (const { userAgent } of await registry.requests()) expect(userAgent).toMatch(/^windlass\/\d+\.\d+/);
      const resumed = (await registry.requests()).filter(({ method, status }) => method === 'GET' && status === 206);
      expect(resumed).toHaveLength(1);
      expect(resumed[0]?.bytes).toBeLessThanOrEqual(11 * MIB);
      await agent.stop();
    });
  });
});

/** Resolves with true once connections are refused. */
function refused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const attempt = () => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.once('connect', () => {
        socket.destroy();
        setTimeout(attempt, 20);
      });
      socket.once('error', () => resolve(true));
    };
    attempt();
  });
}
