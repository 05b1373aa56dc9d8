import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkPull } from '../../../src/doctor/pull-check.ts';
import { PROBE_ASKED_HEADER, probeImage } from '../../../src/oci/probe-image.ts';
import { subjectWith } from '../../support/doctor.ts';

let told: string | undefined;
let url: string | undefined;
const mirror = createServer((request, response) => {
  url = request.url;
  if (told !== undefined) response.setHeader(PROBE_ASKED_HEADER, told);
  response.end();
});
beforeAll(() => new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve)));
afterAll(() => {
  mirror.close();
});

const asked: string[] = [];
const calls = {
  pullImage: async (reference: string) => {
    asked.push(reference);
    throw new Error('not found');
  },
  removeImage: async () => {},
};

test.each([
  ['yes', /it did ask the mirror/, /containerd's log/],
  ['no', /the mirror was not asked/, /config dump/],
  [undefined, /although the files say so\. It says: not found/, /config dump/],
])('a pull that fails says whether the mirror saw it: %s', async (answer, what, mend) => {
  told = answer;
  const { port } = mirror.address() as AddressInfo;
  const subject = await subjectWith([`--mirror.listen=127.0.0.1:${port}`]);
  const { findings } = await checkPull(subject, calls, ['a.example'], [], 'run');
  expect(findings).toMatchObject([{ code: 'pull-passes-by', what: expect.stringMatching(what) }]);
  expect(findings[0]?.mend).toMatch(mend);
  // Only a restart that can help is advised.
  expect(findings[0]?.mend).not.toMatch(/restart/);
  expect(asked.at(-1)).toBe('a.example/windlass.doctor/probe:run-pull');
  expect(url).toContain('/manifests/run-pull?ns=a.example');
});

test('an image that is not the probe came from elsewhere; both are removed again', async () => {
  const [config] = probeImage().blobs;
  const removed: string[] = [];
  const other = {
    pullImage: async (reference: string) => (reference.startsWith('good') ? `${config?.digest}` : 'sha256:other'),
    removeImage: async (reference: string) => {
      removed.push(reference);
    },
  };
  const { findings } = await checkPull(await subjectWith([]), other, ['good.example', 'b.example'], [], 'run');
  expect(findings).toMatchObject([
    { code: 'pull-passes-by', what: expect.stringContaining('another image, sha256:other'), about: ['b.example'] },
  ]);
  expect(removed.map((reference) => reference.split('/')[0])).toEqual(['good.example', 'b.example']);
});

test('after two failures no further registry is tried: each may be waited for', async () => {
  const before = asked.length;
  await checkPull(await subjectWith([]), calls, ['a.example', 'b.example', 'c.example'], [], 'run');
  expect(asked.slice(before).map((reference) => reference.split('/')[0])).toEqual(['a.example', 'b.example']);
});
