import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { diagnose, judged } from '../../../src/doctor/doctor.ts';
import { type CheckResult, type Finding, result, skipped } from '../../../src/doctor/finding.ts';
import { checkHosts } from '../../../src/doctor/hosts-check.ts';
import { run } from '../../support/commands.ts';
import { subjectWith } from '../../support/doctor.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-doctor-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A node of which nothing is anywhere else. */
function subject(answerMs?: number) {
  const registries = JSON.stringify([{ host: 'a.example', endpoint: 'http://127.0.0.1:9' }]);
  const paths = [
    ...[`--containerd.certs-dir=${folder}/certs.d`, `--containerd.config-file=${folder}/config.toml`],
    ...[`--containerd.socket=${folder}/c.sock`, `--store.path=${folder}/store`],
  ];
  const listen = ['--mirror.listen=127.0.0.1:9', '--status.listen=127.0.0.1:19'];
  return subjectWith([`--registries=${registries}`, ...paths, ...listen], undefined, answerMs);
}

test('a check that never ends keeps none of the others from being told', async () => {
  const file = join(folder, 'certs.d', 'a.example', 'hosts.toml');
  await mkdir(join(folder, 'certs.d', 'a.example'), { recursive: true });
  // Whoever reads it waits for somebody to write.
  await run('mkfifo', [file]);
  try {
    const checks = await diagnose(await subject(50), { pull: false });
    expect(checks).toHaveLength(11);
    expect(checks.find(({ check }) => check === 'hosts.toml')?.findings).toMatchObject([
      { code: 'hosts.toml-unknown', severity: 'error', what: expect.stringContaining('no end after 0.6 s') },
    ]);
  } finally {
    await (await open(file, 'r+')).close();
  }
});

test('where a cleanup took the mirror away, that is said, and that its installation is not to come back', async () => {
  const mendOf = async () => (await checkHosts(await subject())).findings.map(({ mend }) => mend);
  expect(await mendOf()).toEqual([expect.stringMatching(/^run windlass configure on this node/)]);
  await mkdir(join(folder, 'store'));
  await writeFile(join(folder, 'store', 'uninstalled'), 'release-1\n');
  expect(await mendOf()).toEqual([
    expect.stringMatching(/^windlass cleanup --tombstone release-1 took the mirror away/),
  ]);
});

function finding(code: string, severity: Finding['severity']): Finding {
  return { code, severity, what: '', mend: '', docs: '' };
}

test.each<[string, CheckResult, string[], string[]]>([
  ['came through', result('pull', ''), ['warning', 'error'], []],
  ['passed by the mirror', result('pull', '', [finding('pull-passes-by', 'error')]), ['error', 'error'], []],
  ['failed otherwise', result('pull', '', [finding('cri-off', 'error')]), ['error', 'error'], ['cri-off']],
  ['was not tried', skipped('pull', ''), ['error', 'error'], []],
])(
  'a list in config_path is as bad as a pull shows, and one finding with it: that %s',
  (_name, pull, severities, codes) => {
    const findings = [finding('config-path-list', 'error'), finding('config-path-both-sections', 'error')];
    const [config, { findings: left }] = judged(result('config_path', '', findings), pull);
    expect(config.findings.map(({ severity }) => severity)).toEqual(severities);
    expect(left.map(({ code }) => code)).toEqual(codes);
  },
);
