import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Settings } from '../config/settings.ts';
import { unless } from '../containerd/if-there.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, result } from './finding.ts';
import { pathHere, type Subject } from './subject.ts';

/** Of a file system, as statfs(2) tells it. */
export interface DiskState {
  readonly bsize: number;
  readonly blocks: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

const GIB = 2 ** 30;
/** A blob has a file, and needs a folder now and then. */
const LEAST_FREE_INODES = 10_000;

/** Is there room for blobs where the store is? */
export async function checkDisk(subject: Subject): Promise<CheckResult> {
  const { store } = subject.settings;
  const state = await stateOf(await pathHere(subject, store.path));
  const freeShare = state.bavail / Math.max(1, state.blocks);
  const seen = `${store.path}: ${percent(freeShare)} of ${inGiB(state.blocks * state.bsize)} are free`;
  return result('disk', seen, diskFindings(state, store));
}

export function diskFindings(
  { bsize, blocks, bavail, files, ffree }: DiskState,
  { path, minFree, maxSize }: Pick<Settings['store'], 'path' | 'minFree' | 'maxSize'>,
): Finding[] {
  const findings: Finding[] = [];
  const warn = (code: string, what: string, mend: string) =>
    findings.push({ code, severity: 'warning', what, mend, docs: DOCUMENTS.eviction });
  const free = percent(bavail / Math.max(1, blocks));
  if (bavail < minFree * blocks) {
    warn(
      'disk-full',
      `the disk of ${path} has ${free} free, and store.minFree keeps ${percent(minFree)}: held blobs are evicted, new ones pass through without being kept`,
      'make room, give the store a disk of its own (store.path), or lower store.minFree, above the thresholds at which kubelet evicts Pods',
    );
  } else if (maxSize > (1 - minFree) * blocks * bsize) {
    warn(
      'disk-small',
      `store.maxSize is ${inGiB(maxSize)}, and the whole disk of ${path} has ${inGiB(blocks * bsize)}, of which ${percent(minFree)} stay free: what is kept is less`,
      'lower store.maxSize, or give the store a larger disk (store.path)',
    );
  }
  // Some file systems count none.
  if (files > 0 && ffree < LEAST_FREE_INODES && ffree < files * 0.05) {
    warn('disk-inodes', `the disk of ${path} has ${ffree} inodes left of ${files}`, 'remove what has many small files');
  }
  return findings;
}

/** Of the folder, or of the one in which it will be made. */
async function stateOf(path: string): Promise<DiskState> {
  const state = await unless(statfs(path), 'ENOENT', 'ENOTDIR');
  return state === undefined && path !== dirname(path) ? stateOf(dirname(path)) : (state ?? statfs(path));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)}%`;
}

function inGiB(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
