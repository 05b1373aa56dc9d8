import { type ConfigPathFault, type ContainerdConfig, configPathFaults } from '../containerd/config-path.ts';
import { DOCUMENTS, RESTART } from './documents.ts';
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
  const faults = configPathFaults(files, certsDir);
  const restart = RESTART[settings.containerd.preset];
  const findings = faults.map(
    ({ code, what, mend }): Finding => ({
      code: `config-path-${code}`,
      severity: severityOf(code, version),
      what: files.length === 0 ? `${what} (looked for at ${configFile})` : what,
      mend: `${mend}. To restart it: ${restart.how}`,
      docs: code === 'mirrors' ? DOCUMENTS.hostsToml : restart.docs,
    }),
  );
  return result('config_path', faults.length === 0 ? `${configFile} names ${certsDir}` : configFile, findings);
}

/** A list is read by releases before 2.2; the default of 2.0 and 2.1 is one. Until they are upgraded. */
function severityOf(code: ConfigPathFault['code'], version: string | undefined): Finding['severity'] {
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(version ?? '') ?? [];
  const isOld = major === '1' || (major === '2' && Number(minor) < 2);
  if (code === 'both-sections') return 'warning';
  if (code === 'list') return isOld ? 'warning' : 'error';
  return code === 'unset' && major === '2' && isOld ? 'warning' : 'error';
}
