import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { tryCommand } from '../support/commands.ts';
import { buildImage } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { RealRegistry } from '../support/real-registry.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';

describeWith("Prometheus' own check of /metrics", [commandsMissing('promtool'), RealRegistry.missing], () => {
  let scratch: Scratch;
  let agent: AgentProcess;

  beforeAll(async () => {
    scratch = await Scratch.create();
    const registry = await RealRegistry.start(scratch);
    agent = await AgentProcess.start(scratch, { registries: { 'docker.io': registry.url } });
    const image = buildImage({ layerBytes: [10_000, 20_000] });
    await pushImage(registry.url, 'library/app', '1', image);
    const paths = [
      'manifests/1',
      `manifests/${image.top.digest}`,
      ...image.blobs.map(({ digest }) => `blobs/${digest}`),
      'manifests/none',
      'tags/list',
    ];
    // Twice: the second time from the store. One refused registry, so that errors are counted as well.
    for (const path of [...paths, ...paths]) {
      await (await fetch(`${agent.mirrorUrl}/v2/library/app/${path}`)).arrayBuffer();
    }
    await (await fetch(`${agent.mirrorUrl}/v2/library/app/manifests/1?ns=elsewhere.example`)).arrayBuffer();
  });
  afterAll(() => scratch?.dispose());

  test('finds nothing to say', async () => {
    const text = await agent.metricsText();
    expect(text).toMatch(/^windlass_mirror_requests_total\{.*\} \d+$/m);

    const { code, stdout, stderr } = await tryCommand('promtool', ['check', 'metrics'], { input: text });

    expect(stdout + stderr).toBe('');
    expect(code).toBe(0);
  });

  test('fails on a metric that breaks the conventions, so that it can be trusted', async () => {
    const bad = '# HELP bad_counter Without _total.\n# TYPE bad_counter counter\nbad_counter 1\n';

    const { code, stderr } = await tryCommand('promtool', ['check', 'metrics'], { input: bad });

    expect(code).not.toBe(0);
    expect(stderr).toContain('bad_counter');
  });

  test('byte hit rate can be drawn: served, received, by source', async () => {
    expect(await agent.metric('windlass_mirror_response_bytes_total', { source: 'store' })).toBeGreaterThan(0);
    expect(await agent.metric('windlass_upstream_received_bytes_total', { registry: 'docker.io' })).toBeGreaterThan(0);
  });
});
