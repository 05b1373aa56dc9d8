import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { pullWithContainerd } from '../../../src/demo/containerd.ts';

describe('the demo’s containerd', () => {
  let directory: string;
  const pull = (where = directory) =>
    pullWithContainerd(
      {
        directory: where,
        registryHost: 'registry.example',
        registryUrl: 'http://127.0.0.1:1',
        mirrorUrl: 'http://127.0.0.1:1',
        image: 'registry.example/x:1',
      },
      new AbortController().signal,
    );

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'windlass-test-'));
    vi.spyOn(process, 'getuid').mockReturnValue(0);
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    await rm(directory, { recursive: true });
  });

  const install = async (name: string, script: string) =>
    writeFile(path.join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

  it('is skipped without root, touching nothing', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    expect(await pull()).toEqual({ outcome: 'skipped', reason: 'it needs root' });
    expect(await readdir(directory)).toEqual([]);
  });

  it('is skipped where it is not installed', async () => {
    vi.stubEnv('PATH', directory);
    expect(await pull()).toEqual({ outcome: 'skipped', reason: 'it is not installed' });
  });

  it('is skipped where its socket’s path would be too long', async () => {
    vi.stubEnv('PATH', directory);
    await install('containerd', 'exit 1');
    await install('ctr', 'exit 1');
    expect(await pull(path.join(directory, 'x'.repeat(100)))).toMatchObject({ outcome: 'skipped' });
  });

  it('is skipped where it does not start', async () => {
    vi.stubEnv('PATH', directory);
    await install('containerd', 'exit 1');
    await install('ctr', 'exit 1');
    expect(await pull()).toEqual({ outcome: 'skipped', reason: 'it did not start here' });
  });

  it('fetches without unpacking where it may not unpack, and is stopped', async () => {
    vi.stubEnv('PATH', `${directory}:${process.env.PATH}`);
    await install('unshare', 'shift 4; exec "$@"');
    await install('containerd', `echo $$ > ${directory}/pid; exec sleep 60`);
    await install(
      'ctr',
      `echo "$@" >> ${directory}/calls
       case "$*" in *version) [ -e ${directory}/pid ] && printf 'Client:\\n  Version: 1\\nServer:\\n  Version:  v2.9.9\\n' ;; *images*) exit 1 ;; esac`,
    );
    expect(await pull()).toMatchObject({ outcome: 'pulled', version: '2.9.9', unpacked: false });
    const calls = String(await readFile(path.join(directory, 'calls')));
    expect(calls).toContain('images pull --hosts-dir');
    expect(calls).toContain('--local');
    const pid = Number(await readFile(path.join(directory, 'pid')));
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });

  it('reports the last line of what ctr says when it fails', async () => {
    vi.stubEnv('PATH', `${directory}:${process.env.PATH}`);
    await install('unshare', 'shift 4; exec "$@"');
    await install('containerd', 'exec sleep 60');
    await install(
      'ctr',
      `case "$*" in *version) printf 'Server:\\n  Version:  1.6.0\\n' ;; *) echo one >&2; echo 'ctr: no such image' >&2; exit 1 ;; esac`,
    );
    expect(await pull()).toEqual({ outcome: 'failed', version: '1.6.0', error: 'ctr: no such image' });
  });
});
