import { once } from 'node:events';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { WindlassError } from '../errors.ts';
import { adminSocketPath, checkSocketPath } from './admin-socket.ts';
import { parseDropTarget, showDropTarget } from './drop-target.ts';
import type { Drop } from './dropped.ts';

const MAX_BODY_BYTES = 4096;
const MAX_CONNECTIONS = 16;

const dropSchema = z.union([
  z.strictObject({ digest: z.string().max(200), cluster: z.boolean().default(true) }),
  z.strictObject({ tag: z.string().max(700), cluster: z.boolean().default(true) }),
]);

export interface AdminServerOptions {
  readonly storePath: string;
  readonly drop: Drop;
  readonly logger: Logger;
}

/**
 * What changes an agent, over a unix socket in its store: `POST /drop { digest | tag, cluster? }` answers with
 * `{ dropped: Dropped[] }`, errors with `{ error: { code, message } }`. The file's mode (0600) is all its protection,
 * so it never listens on a port. To be started once the store is open: its lock says that the socket is nobody else's.
 */
export class AdminServer {
  readonly #options: AdminServerOptions;
  readonly #path: string;
  readonly #server: Server;
  readonly #stopping = new AbortController();

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#path = adminSocketPath(options.storePath);
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        options.logger.error({ err: error }, 'admin request failed');
        if (!response.headersSent) answerError(response, 500, 'UNKNOWN', 'it failed; the log says more');
        else response.destroy();
      });
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  get path(): string {
    return this.#path;
  }

  /**
   * Listens. Replaces a socket that a crash left.
   * @throws STORE_UNUSABLE where the path is too long for a socket; what the system says
   */
  async start(): Promise<void> {
    checkSocketPath(this.#path);
    // Made where nobody else may go, and moved once its mode is right: at no moment can others connect. As long as the
    // name at the end, or shorter.
    const folder = join(this.#options.storePath, '.admin');
    const nascent = join(folder, 's');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    try {
      this.#server.listen(nascent);
      await once(this.#server, 'listening');
      await chmod(nascent, 0o600);
      await rename(nascent, this.#path);
    } catch (error) {
      this.#server.close();
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Idempotent, and right for one that was never started. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    await rm(this.#path, { force: true });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url !== '/drop') return answerError(response, 404, 'NOT_FOUND', `there is no ${request.url}`);
    if (request.method !== 'POST') return answerError(response, 405, 'METHOD_NOT_ALLOWED', 'POST it');
    const body = await readJson(request);
    const parsed = dropSchema.safeParse(body);
    if (!parsed.success) {
      return answerError(response, 400, 'INVALID_NAME', 'write { "digest": "sha256:…" } or { "tag": "host/name:tag" }');
    }
    const { cluster } = parsed.data;
    const left = new AbortController();
    response.once('close', () => left.abort());
    try {
      const text = 'digest' in parsed.data ? parsed.data.digest : parsed.data.tag;
      const target = parseDropTarget(text);
      const signal = AbortSignal.any([this.#stopping.signal, left.signal]);
      const dropped = await this.#options.drop(target, { cluster, signal });
      this.#options.logger.info({ target: showDropTarget(target), cluster, dropped }, 'dropped by hand');
      answer(response, 200, { dropped });
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
      answerError(response, error.code === 'INVALID_NAME' ? 400 : 500, error.code, error.message);
    }
  }
}

/** @returns undefined for what is no JSON, or too long to be a drop */
async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}

function answerError(response: ServerResponse, status: number, code: string, message: string): void {
  answer(response, status, { error: { code, message } });
}
