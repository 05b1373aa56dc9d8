import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { run, tryCommand } from '../support/commands.ts';
import { cacheFolder } from '../support/containerd-binaries.ts';
import { buildImage } from '../support/image.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { SpecRegistry } from '../support/spec-registry.ts';

/** The suite's source: it cannot be had as a Go module, so it lies beside the checkout, or where this says. */
const SOURCE =
  process.env.OCI_CONFORMANCE_SOURCE ?? fileURLToPath(new URL('../../../shared/oci-conformance', import.meta.url));
const sourceMissing = existsSync(join(SOURCE, 'go.mod'))
  ? undefined
  : "the suite's source is not there (OCI_CONFORMANCE_SOURCE)";

describeWith("the distribution spec's conformance suite", [sourceMissing, commandsMissing('go')], () => {
  let scratch: Scratch;
  let suite: string;

  beforeAll(async () => {
    scratch = await Scratch.create();
    suite = await buildSuite(scratch);
  });
  afterAll(() => scratch?.dispose());

  test('its read-only run passes wholly, against the default registry and by path prefix', async () => {
    const registry = await SpecRegistry.start(scratch);
    const agent = await AgentProcess.start(scratch, { registries: { 'docker.io': registry.url } });
    const image = buildImage({ seed: 'conformance', layerBytes: [2048, 300_000], index: true });
    registry.add('library/conformance', ['v1', 'v2', 'v3'], image);

    for (const repository of ['library/conformance', 'docker.io/library/conformance']) {
      const folder = scratch.join(repository.replaceAll('/', '-'));
      await mkdir(folder);
      const { stdout } = await tryCommand(suite, ['-test.v'], {
        cwd: folder,
        env: {
          OCI_REGISTRY: `127.0.0.1:${agent.mirrorPort}`,
          OCI_TLS: 'disabled',
          OCI_REPO1: repository,
          OCI_API_PUSH: 'false',
          OCI_RO_DATA_TAGS: 'v1 v2 v3',
          OCI_RO_DATA_MANIFESTS: `${image.top.digest} ${image.manifest.digest}`,
          OCI_RO_DATA_BLOBS: image.blobs.map(({ digest }) => digest).join(' '),
        },
      });

      // Its exit code says nothing: it panics in a report that it writes last, when the results are complete.
      const results = stdout.slice(0, stdout.indexOf('\nConfiguration:'));
      const cases = [...results.matchAll(/^ *(OCI Conformance Test.*): (Pass|FAIL|Error|Skip|Disabled)$/gm)];
      const passed = cases.filter(([, , status]) => status === 'Pass');
      const failed = cases.filter(([, , status]) => status === 'FAIL' || status === 'Error');
      expect(failed, results).toEqual([]);
      expect(stdout).toMatch(/^OCI Conformance Result: Pass$/m);
      for (const name of ['ping', 'empty/referrers', 'read-only/tag-list', 'read-only/head', 'read-only/pull']) {
        expect(passed.map(([, test]) => test)).toContain(`OCI Conformance Test/${name}`);
      }
      expect(passed.length).toBeGreaterThanOrEqual(18);
    }
  });
});

/** Compiles the suite, once for each state of its source. */
async function buildSuite(scratch: Scratch): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(SOURCE)).sort()) {
    if (/\.go$|^go\./.test(name)) hash.update(name).update(await readFile(join(SOURCE, name)));
  }
  const path = join(cacheFolder(), `oci-conformance-${hash.digest('hex').slice(0, 16)}-${process.arch}`);
  if (existsSync(path)) return path;
  await mkdir(cacheFolder(), { recursive: true });
  const fresh = `${path}.${process.pid}`;
  scratch.defer(() => rm(fresh, { force: true }));
  await run('go', ['test', '-c', '-o', fresh, '.'], {
    cwd: SOURCE,
    env: { GOFLAGS: '-mod=mod -buildvcs=false' },
    timeoutMs: 600_000,
  });
  await rename(fresh, path);
  return path;
}
