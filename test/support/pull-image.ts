import type { AgentProcess } from './agent-process.ts';
import { httpGet } from './http-get.ts';
import { digestOf, type Image } from './image.ts';

export interface PullResult {
  /** What did not come, or came wrong: empty for a whole pull. */
  readonly faults: readonly string[];
}

/** As containerd pulls: the tag or digest by HEAD, the manifests by digest, then the blobs, three at a time. */
export async function pullImage(
  agent: Pick<AgentProcess, 'mirrorUrl'>,
  repository: string,
  reference: string,
  image: Image,
  host = 'docker.io',
): Promise<PullResult> {
  const faults: string[] = [];
  const base = `${agent.mirrorUrl}/v2/${repository}`;
  const head = await httpGet(`${base}/manifests/${reference}?ns=${host}`, { method: 'HEAD' });
  if (head.headers['docker-content-digest'] !== image.top.digest) {
    faults.push(`HEAD ${reference}: ${head.status} ${head.headers['docker-content-digest']}`);
  }
  for (const manifest of [image.index, image.manifest]) {
    if (manifest !== undefined) await fetchOne('manifests', manifest);
  }
  const left = [...image.blobs];
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      for (let blob = left.shift(); blob !== undefined; blob = left.shift()) await fetchOne('blobs', blob);
    }),
  );
  return { faults };

  async function fetchOne(kind: 'blobs' | 'manifests', { digest }: Image['manifest']): Promise<void> {
    try {
      const answer = await httpGet(`${base}/${kind}/${digest}?ns=${host}`);
      if (answer.status !== 200 || answer.end !== 'whole' || digestOf(answer.bytes) !== digest) {
        faults.push(`${kind} ${digest}: ${answer.status}, ${answer.end}, ${answer.bytes.length} bytes`);
      }
    } catch (error) {
      faults.push(`${kind} ${digest}: ${String(error)}`);
    }
  }
}
