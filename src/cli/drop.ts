import { Command } from 'commander';
import { Client } from 'undici';
import { z } from 'zod';
import { readSettings } from '../config/load-settings.ts';
import { systemCode, WindlassError } from '../errors.ts';
import { adminSocketPath, checkSocketPath } from '../status/admin-socket.ts';
import { parseDropTarget, showDropTarget } from '../status/drop-target.ts';
import type { Dropped } from '../status/dropped.ts';
import { renderDropped } from './render-dropped.ts';

const CONNECT_MS = 5_000;
/** All nodes are asked at once, each within its own bound. */
const ANSWER_MS = 60_000;
const EXIT_NOT_EVERYWHERE = 1;

interface DropFlags {
  readonly local?: true;
  readonly config?: string;
  readonly 'store.path'?: string;
}

const answerSchema = z.union([
  z.object({
    dropped: z.array(
      z.object({
        node: z.string(),
        self: z.boolean(),
        removed: z.array(
          z.object({ what: z.enum(['blob', 'manifest', 'partial', 'tag']), sizeBytes: z.number().optional() }),
        ),
        error: z.string().optional(),
      }),
    ),
  }),
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
]);

export function dropCommand(): Command {
  return new Command('drop')
    .description(
      'Removes a blob or manifest (by its digest), or what is remembered of a tag, from this node and from all others.',
    )
    .argument('<digest|tag>', 'sha256:…, or docker.io/library/redis:7')
    .option('--local', 'from this node alone')
    .option('--config <file>', "the agent's settings, to find its store")
    .option('--store.path <path>', 'the same, from this setting alone')
    .action(async (text: string, flags: DropFlags) => {
      const target = parseDropTarget(text);
      const body = target.kind === 'digest' ? { digest: target.digest } : { tag: showDropTarget(target) };
      const dropped = await askAgent(await socketPaths(flags), { ...body, cluster: flags.local !== true });
      process.stdout.write(`${renderDropped(showDropTarget(target), dropped)}\n`);
      if (dropped.some(({ error }) => error !== undefined)) process.exitCode = EXIT_NOT_EVERYWHERE;
    });
}

/** The agent's own choice: its store, or, where that could not be written and nobody chose it, the fallback. */
async function socketPaths(flags: DropFlags): Promise<readonly string[]> {
  const names = ['config', 'store.path'] as const;
  const { settings, fallbackStorePath } = await readSettings({
    flags: names.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`])),
    env: process.env,
    cwd: process.cwd(),
  });
  const stores = [settings.store.path, ...(fallbackStorePath === undefined ? [] : [fallbackStorePath])];
  return stores.map(adminSocketPath);
}

/** @throws STORE_UNUSABLE: no agent, or not ours to change; what the agent answered */
async function askAgent(paths: readonly string[], body: object): Promise<readonly Dropped[]> {
  const [first = ''] = paths;
  for (const path of paths) {
    checkSocketPath(path);
    try {
      return await ask(path, body);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EACCES' || code === 'EPERM') {
        throw new WindlassError('STORE_UNUSABLE', `${path}: no permission; only the agent's own user and root may`);
      }
      const isAbsent = code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR';
      if (!isAbsent) throw error;
    }
  }
  throw new WindlassError(
    'STORE_UNUSABLE',
    `no agent listens at ${first}: is one running on this machine? Its store.path is needed: --store.path or --config`,
  );
}

async function ask(socketPath: string, body: object): Promise<readonly Dropped[]> {
  const client = new Client('http://localhost', { socketPath, connect: { timeout: CONNECT_MS } });
  try {
    const response = await client.request({
      method: 'POST',
      path: '/drop',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
    });
    const answer = answerSchema.parse(await response.body.json());
    if ('dropped' in answer) return answer.dropped;
    throw new WindlassError('STORE_UNUSABLE', `the agent could not: ${answer.error.message}`);
  } finally {
    await client.destroy();
  }
}
