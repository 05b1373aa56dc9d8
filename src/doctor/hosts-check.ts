import { join } from 'node:path';
import { realDisk } from '../containerd/disk.ts';
import { hostsInEffect } from '../containerd/hosts-in-effect.ts';
import { type MirrorFault, mirrorFault } from '../containerd/hosts-toml.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result } from './finding.ts';
import { isMirrorOrigin, type Subject } from './subject.ts';

const CONFIGURE = 'run windlass configure on this node, with the settings of the agent';

interface HostFault {
  readonly code: MirrorFault['code'] | 'no-file' | 'no-folder';
  /** Of a file; several registries may share it. */
  readonly what: string;
}

/** What stands in the files, and which hosts containerd asks the mirror for first. */
export interface HostsCheck extends CheckResult {
  readonly mirrored: readonly string[];
}

/** Is the mirror the first host of every registry? */
export async function checkHosts(subject: Subject): Promise<HostsCheck> {
  const { certsDir } = subject.paths;
  const faults = new Map<string, { fault: HostFault; hosts: string[] }>();
  const mirrored: string[] = [];
  for (const host of subject.hosts) {
    const fault = await faultOf(subject, host);
    if (fault === undefined) {
      mirrored.push(host);
      continue;
    }
    const key = `${fault.code} ${fault.what}`;
    const same = faults.get(key);
    if (same === undefined) faults.set(key, { fault, hosts: [host] });
    else same.hosts.push(host);
  }
  const gone = await new Tombstone(subject.settings.store.path, realDisk).read();
  const findings = [...faults.values()].map(({ fault, hosts }) => findingOf(fault, hosts, gone));
  const seen = `${certsDir}: the mirror is first for ${mirrored.length} of ${subject.hosts.length} registries`;
  return { ...result('hosts.toml', seen, findings), mirrored };
}

async function faultOf({ paths, settings }: Subject, host: string): Promise<HostFault | undefined> {
  const { certsDir } = paths;
  const { folder, text, isBroken } = await hostsInEffect(certsDir, host);
  if (folder === undefined) {
    return { code: 'no-file', what: `there is neither a folder of theirs nor _default in ${certsDir}` };
  }
  const file = join(certsDir, folder, 'hosts.toml');
  if (isBroken) return { code: 'no-folder', what: `${join(certsDir, folder)} is no folder, and pulls fail with it` };
  if (text === undefined) return { code: 'no-file', what: `${file} is missing or empty` };
  const fault = mirrorFault(text, (origin) => isMirrorOrigin(settings.mirror.listen, origin));
  return fault === undefined ? undefined : { code: fault.code, what: `${file}: ${fault.what}` };
}

function findingOf({ code, what }: HostFault, hosts: readonly string[], gone: string | undefined): Finding {
  const isGone = gone !== undefined && (code === 'no-file' || code === 'not-named');
  return {
    code: `hosts-toml-${code}`,
    severity: code === 'https-first' ? 'warning' : 'error',
    what: `${firstOf(hosts)}: ${what}`,
    mend: isGone
      ? `windlass cleanup --tombstone ${gone} took the mirror away: run windlass configure with another --install-id`
      : MENDS[code],
    docs: DOCUMENTS.hostsToml,
    about: hosts,
  };
}

const MENDS: Readonly<Record<HostFault['code'], string>> = {
  'no-file': CONFIGURE,
  'not-named': `${CONFIGURE}; if it did and mirror.listen has changed since, run it again`,
  'not-first': 'put the mirror before the other hosts: containerd asks them in the order of the file',
  capabilities: 'write capabilities = ["pull", "resolve"] for the mirror',
  'https-first': 'take skip_verify and ca out of the table of the mirror',
  unparsable: 'correct the file, or remove it and run windlass configure',
  'no-folder': `remove it, and ${CONFIGURE}`,
};
