import { parse } from 'smol-toml';
import { expect, test } from 'vitest';
import { certFileLines } from '../../../src/containerd/cert-files.ts';

test("the certificates that lie in a registry's folder are named as containerd would take them", () => {
  const names = ['b.crt', 'a.crt', 'both.cert', 'pair.cert', 'pair.key', 'readme'];
  expect(parse(certFileLines(names).join('\n'))).toEqual({
    ca: ['a.crt', 'b.crt'],
    client: ['both.cert', ['pair.cert', 'pair.key']],
  });
  expect(certFileLines(['hosts.toml', 'alone.key'])).toEqual([]);
});
