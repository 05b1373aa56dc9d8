import { type ConfigPathFault, type ContainerdConfig, configPathFaults } from '../containerd/config-path.ts';
import { DOCUMENTS, RESTART, restartHere } from './documents.ts';
import { type CheckResult, type Finding, result } from './finding.ts';
import type { Subject } from './subject.ts';

/**
 * Does containerd's configuration name certs.d, and that alone?
 * @param version of the containerd that runs, `v2.3.4`; undefined where it is not known
 */
export function checkConfigPath(
  { paths, settings }: Subject,
  files: readonly ContainerdConfig[],
  version: string | undefined,
): CheckResult {
  const { certsDir, configFile } = paths;
  const faults = configPathFaults(files, certsDir, version);
  const { preset } = settings.containerd;
  const findings = faults.map(
    ({ code, what, mend, harmless }): Finding => ({
      code: `config-path-${code}`,
      severity: isHarmless(harmless, version) ? 'warning' : 'error',
      what: files.length === 0 ? `${what} (looked for at ${configFile})` : what,
      mend: `${mend}. ${restartHere(preset)}`,
      docs: code === 'mirrors' ? DOCUMENTS.hostsToml : RESTART[preset].docs,
    }),
  );
  return result('config_path', faults.length === 0 ? `${configFile} names ${certsDir}` : configFile, findings);
}

/** With the release that runs; the next one may be another matter. */
function isHarmless(harmless: ConfigPathFault['harmless'], version: string | undefined): boolean {
  if (harmless === undefined) return false;
  const { from, before } = harmless;
  if (from === undefined && before === undefined) return true;
  if (version === undefined) return false;
  const running = order(version);
  return (from === undefined || running >= order(from)) && (before === undefined || running < order(before));
}

/** `v2.3.4` and `2.3` are the same. */
function order(version: string): number {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) * 10_000 + Number(minor);
}
