import { resolve } from 'node:path';
import { isLoopback, isWildcard, type ListenAddress } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { mirrorAddress } from '../containerd/mirror-address.ts';
import { type ContainerdPaths, containerdPaths } from '../containerd/presets.ts';
import { pathBelow } from '../containerd/root-path.ts';

/** The node that is looked at. */
export interface Subject {
  readonly settings: Settings;
  readonly paths: ContainerdPaths;
  /** Where its runtime asks: `http://127.0.0.1:5050`. */
  readonly mirrorUrl: string;
  /** Of its agent: `http://127.0.0.1:5053`. */
  readonly statusUrl: string;
  /** Where `/` of the node is; all paths but this one are as they are there. */
  readonly root: string;
  /** How long an answer of this machine, of a peer or of a registry is waited for. */
  readonly answerMs: number;
  /** A host for each entry of `registries`: for a pattern one that it matches and nobody has. */
  readonly hosts: readonly string[];
}

export interface SubjectOptions {
  readonly settings: Settings;
  readonly cwd: string;
  readonly statusUrl: string;
  readonly root?: string | undefined;
  /** 5 s by default. */
  readonly answerMs?: number | undefined;
}

/** @throws INVALID_SETTINGS where the mirror's port is left to the system */
export function subjectOf({ settings, cwd, statusUrl, root = '/', answerMs = 5_000 }: SubjectOptions): Subject {
  return {
    settings,
    paths: containerdPaths(settings.containerd, cwd),
    mirrorUrl: `http://${mirrorAddress(settings.mirror.listen)}`,
    statusUrl,
    root: resolve(cwd, root),
    answerMs,
    hosts: settings.registries.map(({ host }) => hostFor(host)),
  };
}

/** A path of the node, as it is to be opened here, whatever links it goes through. */
export function pathHere({ root }: Subject, path: string): Promise<string> {
  return pathBelow(root, path);
}

/** Is it an origin at which the mirror listens? */
export function isMirrorOrigin(listen: readonly ListenAddress[], origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, hostname, port } = new URL(origin);
  if (protocol !== 'http:') return false;
  const asked: ListenAddress = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) };
  return listen.some(
    (own) =>
      own.port === asked.port &&
      (own.host === asked.host || isWildcard(own) || (asked.host === 'localhost' && isLoopback(own))),
  );
}

/** Hosts that are asked for are never resolved: what is made of a pattern must only be matched by it. */
function hostFor(pattern: string): string {
  if (pattern === '*') return 'windlass-doctor.invalid';
  return pattern.startsWith('*.') ? `windlass-doctor${pattern.slice(1)}` : pattern;
}
