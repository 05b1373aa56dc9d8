import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { NATIVE_PACKAGES } from '../../../.ci/build/native-packages.ts';

interface Locked {
  readonly version: string;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

const lock = JSON.parse(await readFile(new URL('../../../package-lock.json', import.meta.url), 'utf8'));
const packages: Record<string, Locked> = lock.packages;

/** Have a script, but compile nothing: that of protobufjs looks at version numbers, and npm does not run it here. */
const HARMLESS = ['protobufjs'];

/** The image for arm64 cannot be run here; that nothing it needs is missing can be seen here. */
test.each(NATIVE_PACKAGES)('%s has its compiled part for both kinds of machine, of the same version', (name) => {
  const { version } = packages[`node_modules/${name}`] ?? {};
  expect(version).toBeDefined();
  for (const cpu of ['x64', 'arm64']) {
    expect(packages[`node_modules/${name}-linux-${cpu}-gnu`]).toMatchObject({ version, os: ['linux'], cpu: [cpu] });
  }
});

test('nothing else that the agent depends on is compiled, here or when it is installed', () => {
  const others = Object.entries(packages)
    .filter(([, { dev, os, cpu, hasInstallScript }]) => dev !== true && (os ?? cpu ?? hasInstallScript) !== undefined)
    .map(([path]) => path.replace(/^.*node_modules\//, ''))
    .filter((part) => !HARMLESS.includes(part))
    .filter((part) => !NATIVE_PACKAGES.some((name) => part === name || part.startsWith(`${name}-`)));
  expect(others).toEqual([]);
});
