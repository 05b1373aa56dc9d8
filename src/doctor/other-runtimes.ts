import { stat } from 'node:fs/promises';
import { textOf, unless } from '../containerd/if-there.ts';
import { DOCUMENTS } from './documents.ts';
import type { Finding } from './finding.ts';
import { pathHere, type Subject } from './subject.ts';

/** Runtimes that are no containerd. */
export interface OtherRuntimes {
  readonly names: readonly string[];
  readonly findings: readonly Finding[];
}

const DROP_IN = '/etc/containers/registries.conf.d/50-windlass.conf';

/** Is there CRI-O, or Docker, and do they ask the mirror? */
export async function otherRuntimes(subject: Subject): Promise<OtherRuntimes> {
  const crio = await isThere(subject, '/run/crio/crio.sock', '/var/run/crio/crio.sock');
  const docker = await isThere(subject, '/run/docker.sock', '/var/run/docker.sock');
  return {
    names: [...(crio ? ['CRI-O'] : []), ...(docker ? ['Docker'] : [])],
    findings: [...(crio ? await ofCrio(subject) : []), ...(docker ? await ofDocker(subject) : [])],
  };
}

async function ofCrio(subject: Subject): Promise<Finding[]> {
  const text = await textOf(await pathHere(subject, DROP_IN));
  const address = new URL(subject.mirrorUrl).host;
  if (text?.includes(`"${address}/`) === true) return [];
  const found = text === undefined ? `there is no ${DROP_IN}` : `${DROP_IN} names another mirror than ${address}`;
  return [
    {
      code: 'crio-not-configured',
      severity: 'error',
      what: `CRI-O runs here and does not ask the mirror: ${found}`,
      mend: 'run windlass configure --runtime cri-o on this node; CRI-O reads it at the next pull (systemctl reload crio if it does not)',
      docs: DOCUMENTS.crioMirrors,
    },
  ];
}

/** Kubernetes has not used it since 1.24: what Docker pulls is somebody's own doing. */
async function ofDocker(subject: Subject): Promise<Finding[]> {
  const { mirrorUrl } = subject;
  const text = (await textOf(await pathHere(subject, '/etc/docker/daemon.json'))) ?? '';
  if (text.includes(mirrorUrl)) return [];
  return [
    {
      code: 'docker-not-configured',
      severity: 'warning',
      what: 'Docker runs here and does not ask the mirror; windlass configure does not touch it, and its mirrors are for Docker Hub alone',
      mend: `to have them, write { "registry-mirrors": ["${mirrorUrl}"] } into /etc/docker/daemon.json and restart Docker; Pods of Kubernetes do not need it`,
      docs: DOCUMENTS.dockerMirrors,
    },
  ];
}

async function isThere(subject: Subject, ...paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    if ((await unless(stat(await pathHere(subject, path)), 'ENOENT', 'ENOTDIR')) !== undefined) return true;
  }
  return false;
}
