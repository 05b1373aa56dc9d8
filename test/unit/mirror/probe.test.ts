import { describe, expect, test } from 'vitest';
import { readManifest } from '../../../src/oci/manifest.ts';
import { PROBE_ASKED_HEADER, PROBE_REPOSITORY, probeImage } from '../../../src/oci/probe-image.ts';
import { httpGet } from '../../support/http-get.ts';
import { digestOf } from '../../support/image.ts';
import { startMirror } from './mirror-fixture.ts';

const IMAGE = probeImage();
const BASE = `/v2/${PROBE_REPOSITORY}`;

describe('the image by which windlass doctor sees that pulls come here', () => {
  test('is had under every registry that is mirrored, by any tag, and nobody is asked for it', async () => {
    const { mirror, upstream } = await startMirror();
    for (const ns of ['docker.io', 'ghcr.io']) {
      for (const method of ['HEAD', 'GET']) {
        const answer = await httpGet(`http://${mirror.address}${BASE}/manifests/any-tag?ns=${ns}`, { method });
        expect(answer).toMatchObject({
          status: 200,
          headers: {
            'docker-content-digest': IMAGE.manifest.digest,
            'content-type': IMAGE.manifest.mediaType,
            'content-length': String(IMAGE.manifest.bytes.length),
          },
        });
        if (method === 'GET') expect(answer.bytes).toEqual(IMAGE.manifest.bytes);
      }
    }
    for (const part of [IMAGE.manifest, ...IMAGE.blobs]) {
      const kind = part === IMAGE.manifest ? 'manifests' : 'blobs';
      const { bytes } = await httpGet(`http://${mirror.address}${BASE}/${kind}/${part.digest}?ns=docker.io`);
      expect(digestOf(bytes)).toBe(part.digest);
    }
    expect(upstream.requests).toEqual([]);
  });

  test('says whether its tag was asked for before, under that registry', async () => {
    const { mirror } = await startMirror();
    const asked = async (tag: string, ns: string) => {
      const url = `http://${mirror.address}${BASE}/manifests/${tag}?ns=${ns}`;
      return (await httpGet(url, { method: 'HEAD' })).headers[PROBE_ASKED_HEADER];
    };
    expect(await asked('a', 'docker.io')).toBe('no');
    expect(await asked('b', 'docker.io')).toBe('no');
    expect(await asked('a', 'ghcr.io')).toBe('no');
    expect(await asked('a', 'docker.io')).toBe('yes');
  });

  test('has no more than it has, and is not had of a registry that is not listed', async () => {
    const { mirror, upstream } = await startMirror();
    const statusOf = async (path: string) => (await httpGet(`http://${mirror.address}${path}`)).status;
    expect(await statusOf(`${BASE}/blobs/sha256:${'0'.repeat(64)}?ns=docker.io`)).toBe(404);
    expect(await statusOf(`${BASE}/tags/list?ns=docker.io`)).toBe(404);
    expect(await statusOf(`${BASE}/manifests/t?ns=evil.example`)).toBe(403);
    expect(upstream.requests).toEqual([]);
  });

  test('is an image', () => {
    expect(readManifest(IMAGE.manifest.bytes)).toBeDefined();
    expect(JSON.parse(IMAGE.blobs[0]?.bytes.toString() ?? '')).toMatchObject({ os: 'linux' });
    expect(probeImage('arm64').manifest.digest).not.toBe(probeImage('x64').manifest.digest);
  });
});
