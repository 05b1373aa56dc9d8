import { type ContainerdConfig, discardsLayers } from '../containerd/config-path.ts';
import { DOCUMENTS, restartHere } from './documents.ts';
import { type CheckResult, result, skipped } from './finding.ts';
import type { Subject } from './subject.ts';

/**
 * Does containerd keep the layers that it has unpacked, for others to have them?
 * @param version of the containerd that runs; undefined where it is not known
 */
export function checkLayers(
  { settings }: Subject,
  files: readonly ContainerdConfig[],
  version: string | undefined,
): CheckResult {
  if (files.length === 0) return skipped('layers', 'there is no configuration of containerd to read');
  if (!discardsLayers(files, version)) return result('layers', 'containerd keeps the layers that it has unpacked');
  return result('layers', 'containerd throws them away', [
    {
      code: 'discard-unpacked-layers',
      severity: 'warning',
      what: 'discard_unpacked_layers is on: containerd throws layers away once they are unpacked, so other nodes get them from the store of this agent alone, and never those of images that were here before it',
      mend: `leave it if the store is large enough (store.maxSize); else set discard_unpacked_layers = false and restart containerd. ${restartHere(settings.containerd.preset)}`,
      docs: DOCUMENTS.criConfig,
    },
  ]);
}
