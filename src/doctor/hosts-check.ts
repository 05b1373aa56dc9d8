import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { matchesHostPattern } from '../config/registry-host.ts';
import { realDisk } from '../containerd/disk.ts';
import { hostOf } from '../containerd/host-folders.ts';
import { type HostsInEffect, hostsInEffect } from '../containerd/hosts-in-effect.ts';
import { type MirrorFault, mirrorFault } from '../containerd/hosts-toml.ts';
import { namesIn, unless } from '../containerd/if-there.ts';
import { Tombstone } from '../containerd/tombstone.ts';
import { systemCode } from '../errors.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result } from './finding.ts';
import { isMirrorOrigin, pathHere, type Subject } from './subject.ts';

const CONFIGURE =
  'run windlass configure on this node, with the settings of the agent (in Kubernetes its Pod does that whenever it starts: delete it)';

interface HostFault {
  readonly code: MirrorFault['code'] | 'no-file' | 'no-folder' | 'unreadable';
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
  const hosts = [...new Set([...subject.hosts, ...(await hostsWithFolders(subject))])];
  for (const host of hosts) {
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
  const gone = await new Tombstone(await pathHere(subject, subject.settings.store.path), realDisk).read();
  const findings = [...faults.values()].map(({ fault, hosts }) => findingOf(fault, hosts, gone));
  const seen = `${certsDir}: the mirror is first for ${mirrored.length} of ${hosts.length} registries`;
  return { ...result('hosts.toml', seen, findings), mirrored };
}

/** What a pattern matches and has a folder of its own, which hides _default from it. */
async function hostsWithFolders(subject: Subject): Promise<string[]> {
  const { certsDir } = subject.paths;
  const patterns = subject.settings.registries.map(({ host }) => host).filter((host) => host.startsWith('*'));
  const names = (await namesIn(await pathHere(subject, certsDir))) ?? [];
  const hosts: string[] = [];
  for (const name of names) {
    const host = hostOf(name);
    if (!isHost(host) || !patterns.some((pattern) => matchesHostPattern(pattern, host))) continue;
    // Stray files are nobody's registries.
    const stats = await unless(stat(await pathHere(subject, join(certsDir, name))), 'ENOENT', 'ENOTDIR', 'ELOOP');
    if (stats?.isDirectory() === true) hosts.push(host);
  }
  return hosts;
}

/** As the name of a registry in an image's: `a.example`, `a:5000`, localhost. */
function isHost(name: string): boolean {
  return !/^[_.]/.test(name) && (/[.:]/.test(name) || name === 'localhost');
}

async function faultOf(subject: Subject, host: string): Promise<HostFault | undefined> {
  const { certsDir } = subject.paths;
  let hosts: HostsInEffect;
  try {
    hosts = await hostsInEffect(certsDir, host, subject.root);
  } catch (error) {
    // Of one registry; the others are looked at all the same.
    if (systemCode(error) === undefined || !(error instanceof Error)) throw error;
    return { code: 'unreadable', what: `its file cannot be read (${error.message})` };
  }
  const { folder, text, isBroken } = hosts;
  if (folder === undefined) {
    return { code: 'no-file', what: `there is neither a folder of theirs nor _default in ${certsDir}` };
  }
  const file = join(certsDir, folder, 'hosts.toml');
  if (isBroken) return { code: 'no-folder', what: `${join(certsDir, folder)} is no folder, and pulls fail with it` };
  if (text === undefined) return { code: 'no-file', what: `${file} is missing or empty` };
  const fault = mirrorFault(text, (origin) => isMirrorOrigin(subject.settings.mirror.listen, origin));
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
  unreadable: `run windlass doctor as root; if it does, containerd cannot read it either: remove it, and ${CONFIGURE}`,
  'no-folder': `remove it, and ${CONFIGURE}`,
};
