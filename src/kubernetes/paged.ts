import { z } from 'zod';
import { apiNonsense } from './api-failure.ts';
import type { KubeApi } from './kube-api.ts';

/** Objects in one answer: a Node has some 10 kB. */
const PAGE = 500;

const pageSchema = z.object({
  metadata: z.object({ continue: z.string().nullish() }).nullish(),
  items: z.array(z.unknown()).nullish(),
});

/**
 * All objects of a list, page by page. A page that comes too late fails with 410: the list is to be begun anew.
 * @param read of one object; what it makes of it is all that is kept
 */
export async function listAll<T>(
  api: Pick<KubeApi, 'json'>,
  path: string,
  query: Readonly<Record<string, string>>,
  read: (item: unknown) => T,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const all: T[] = [];
  let next: string | null | undefined;
  do {
    const page = { ...query, limit: String(PAGE), ...(next ? { continue: next } : {}) };
    const { data } = pageSchema.safeParse(await api.json({ path, query: page }, signal));
    if (data === undefined) throw apiNonsense(`what is no list for ${path}`);
    all.push(...(data.items ?? []).map(read));
    next = data.metadata?.continue;
  } while (next);
  return all;
}
