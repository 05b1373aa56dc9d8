import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent-process.ts';
import { run } from '../support/commands.ts';
import { buildImage, type Image } from '../support/image.ts';
import { pushImage } from '../support/push.ts';
import { REGISTRY_PASSWORD, REGISTRY_USER, RealRegistry } from '../support/real-registry.ts';
import { commandsMissing, describeWith } from '../support/requires.ts';
import { Scratch } from '../support/scratch.ts';
import { registriesConf, skopeoCopy } from '../support/skopeo.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

describeWith('skopeo, and with it podman and CRI-O', [commandsMissing('skopeo'), RealRegistry.missing], () => {
  let scratch: Scratch;
  let registry: RealRegistry;
  let agent: AgentProcess;

  beforeAll(async () => {
    scratch = await Scratch.create();
    registry = await RealRegistry.start(scratch);
    agent = await AgentProcess.start(scratch, {
      registries: {
        'docker.io': registry.url,
        'registry.invalid': registry.url, // no such name can exist: what is served came through the agent
        'registry.example.com:5000': registry.url,
      },
    });
  });
  afterAll(() => scratch?.dispose());

  async function publish(repository: string, image: Image): Promise<void> {
    await pushImage(registry.url, repository, 'latest', image);
    await registry.forget();
  }

  async function expectOneGetEach(image: Image): Promise<void> {
    const counts = await registry.counts();
    for (const { digest } of image.blobs) expect(counts[`GET blob ${digest}`], digest).toBe(1);
  }

  test('copies from the default registry, no host in the path', async () => {
    const image = buildImage({ seed: 'skopeo default', layerBytes: [70_000, 2_000_000] });
    await publish('library/plain', image);

    const copy = await skopeoCopy(scratch, `docker://127.0.0.1:${agent.mirrorPort}/library/plain:latest`);

    expect(copy.manifestDigest).toBe(image.manifest.digest);
    expect(copy.blobs).toHaveLength(image.blobs.length);
    await expectOneGetEach(image);
  });

  test('copies by path prefix, from docker.io and from a registry with a port', async () => {
    const image = buildImage({ seed: 'skopeo prefix', layerBytes: [70_000], format: 'docker' });
    await publish('library/prefixed', image);
    const mirror = `docker://127.0.0.1:${agent.mirrorPort}`;

    const one = await skopeoCopy(scratch, `${mirror}/docker.io/library/prefixed:latest`);
    const two = await skopeoCopy(scratch, `${mirror}/registry.example.com:5000/library/prefixed:latest`).catch(
      (error: unknown) => String(error),
    );

    expect(one.manifestDigest).toBe(image.manifest.digest);
    // A colon cannot stand inside a repository's name for skopeo itself: it is refused before a request is made.
    expect(two).toMatch(/invalid reference format/);
    await expectOneGetEach(image);
  });

  test('copies by digest', async () => {
    const image = buildImage({ seed: 'skopeo digest', layerBytes: [70_000] });
    await publish('library/digested', image);

    const copy = await skopeoCopy(
      scratch,
      `docker://127.0.0.1:${agent.mirrorPort}/library/digested@${image.manifest.digest}`,
    );

    expect(copy.manifestDigest).toBe(image.manifest.digest);
    await expectOneGetEach(image);
  });

  test('an index is copied as the manifest of this platform', async () => {
    const image = buildImage({ seed: 'skopeo index', layerBytes: [70_000], index: true });
    await publish('library/indexed', image);

    const copy = await skopeoCopy(scratch, `docker://127.0.0.1:${agent.mirrorPort}/library/indexed:latest`);

    expect(copy.manifestDigest).toBe(image.manifest.digest);
    await expectOneGetEach(image);
  });

  test('serves as the mirror of a registries.conf, without ns', async () => {
    const image = buildImage({ seed: 'podman', layerBytes: [70_000, 900_000] });
    await publish('library/mirrored', image);
    const conf = scratch.join('registries.conf');
    await writeFile(conf, registriesConf('registry.invalid', `127.0.0.1:${agent.mirrorPort}/registry.invalid`));

    const copy = await skopeoCopy(scratch, 'docker://registry.invalid/library/mirrored:latest', {
      registriesConf: conf,
    });

    expect(copy.manifestDigest).toBe(image.manifest.digest);
    await expectOneGetEach(image);
  });

  test('obeys the drop-in that windlass configure writes', async () => {
    const image = buildImage({ seed: 'drop-in', layerBytes: [70_000] });
    await publish('library/dropped', image);
    const folder = scratch.join('etc', 'registries.conf.d');
    const flags = ['--config', agent.configPath, '--runtime', 'podman', '--registries-conf-dir', folder];
    const { stdout } = await run(process.execPath, [MAIN, 'configure', ...flags]);
    // With its port in the path of a mirror every pull would be refused.
    expect(stdout).toMatch(/^skipped: registry\.example\.com:5000: /m);

    const copy = await skopeoCopy(scratch, 'docker://registry.invalid/library/dropped:latest', {
      registriesConf: join(folder, '50-windlass.conf'),
    });

    expect(copy.manifestDigest).toBe(image.manifest.digest);
    await expectOneGetEach(image);
  });

  test('a registry with credentials is opened with them; without them the client hears 404', async () => {
    const closed = await RealRegistry.start(scratch, { authenticated: true });
    const image = buildImage({ seed: 'credentials', layerBytes: [70_000] });
    await pushImage(closed.url, 'team/closed', '1', image, { user: REGISTRY_USER, password: REGISTRY_PASSWORD });
    const passwordFile = scratch.join('password');
    await writeFile(passwordFile, `${REGISTRY_PASSWORD}\n`);
    const other = await AgentProcess.start(scratch, {
      settings: {
        registries: [
          {
            host: 'opened.example',
            endpoint: closed.url,
            credentials: { username: REGISTRY_USER, passwordFile },
          },
          { host: 'closed.example', endpoint: closed.url },
        ],
      },
    });
    const mirror = `127.0.0.1:${other.mirrorPort}`;

    const refused = await fetch(`http://${mirror}/v2/closed.example/team/closed/manifests/1`);
    const copy = await skopeoCopy(scratch, `docker://${mirror}/opened.example/team/closed:1`);

    expect(refused.status).toBe(404);
    expect(copy.manifestDigest).toBe(image.manifest.digest);
  });
});
