import { expect } from 'vitest';
import type { Image } from '../../support/image.ts';
import type { UpstreamReport } from './lab-registry.ts';

/** Upstream gave agents each manifest and each blob of these images once, and runtimes nothing. */
export function expectOnce(report: UpstreamReport, images: readonly Image[], tag = 'v1'): void {
  const blobs = new Map(images.flatMap((image) => image.blobs).map((blob) => [blob.digest, blob.bytes.length]));
  for (const digest of blobs.keys()) expect(report.gets.get(digest), `GETs of blob ${digest}`).toBe(1);
  const manifests = new Map(images.map(({ top }) => [top.digest, top.bytes.length]));
  const ofManifests = [...manifests.keys()].reduce((sum, digest) => sum + (report.gets.get(digest) ?? 0), 0);
  expect(ofManifests + (report.gets.get(tag) ?? 0), 'GETs of manifests').toBe(manifests.size);
  const bytes = [...blobs.values(), ...manifests.values()].reduce((sum, size) => sum + size, 0);
  expect(report.agentBytes / bytes).toBeLessThanOrEqual(1.01);
  expect(report.agentBytes / bytes).toBeGreaterThanOrEqual(0.999);
  expect(report.otherBytes).toBe(0);
}
