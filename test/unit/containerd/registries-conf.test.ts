import { parse } from 'smol-toml';
import { expect, test } from 'vitest';
import { registriesConf } from '../../../src/containerd/registries-conf.ts';

test('a drop-in has the mirror for each registry, its host first in the path', () => {
  const { text = '', foregone } = registriesConf(['docker.io', 'quay.io'], '127.0.0.1:5050', []);
  expect(foregone).toEqual([]);
  expect(parse(text)).toEqual({
    registry: ['docker.io', 'quay.io'].map((host) => ({
      prefix: host,
      location: host,
      mirror: [{ location: `127.0.0.1:5050/${host}`, insecure: true }],
    })),
  });
});

test('patterns and ports are skipped, and registries of which another file speaks are left to it', () => {
  const others = [
    '[[registry]]\nlocation = "docker.io"\n',
    '[[registry]]\nprefix = "quay.io"\nlocation = "x"\n',
    'half = "',
  ];
  expect(registriesConf(['*.gcr.io', 'a.io:5000', 'docker.io', 'quay.io'], '127.0.0.1:5050', others)).toEqual({
    text: undefined,
    foregone: [
      { path: '*.gcr.io', kind: 'skipped', why: expect.any(String) },
      { path: 'a.io:5000', kind: 'skipped', why: expect.any(String) },
      { path: 'docker.io', kind: 'left', why: expect.stringContaining('127.0.0.1:5050/docker.io') },
      { path: 'quay.io', kind: 'left', why: expect.any(String) },
    ],
  });
});
