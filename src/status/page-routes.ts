import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { mayKnowNames, type NamesShown } from './asker.ts';
import type { EventStream } from './event-stream.ts';
import { PageFiles } from './page-files.ts';

/** Its own files, its own events, and nothing else of anywhere; in nobody's frame. */
const CONTENT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const SAFE_HEADERS = {
  'content-security-policy': CONTENT_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export interface PageRoutesOptions {
  readonly events: EventStream;
  readonly names: NamesShown;
}

/** The page for people: `/`, its files below `/page/`, and `/events` (see PageFeed). */
export function addPageRoutes(app: FastifyInstance, { events, names }: PageRoutesOptions): void {
  const files = new PageFiles();
  const send = async (path: string, request: FastifyRequest, reply: FastifyReply) => {
    const file = await files.get(path);
    if (file === undefined) return reply.callNotFound();
    // Asked again each time, since an agent of another version may answer the next.
    reply.headers({ etag: file.etag, 'cache-control': 'no-cache' }).type(file.type);
    return request.headers['if-none-match'] === file.etag ? reply.code(304).send() : reply.send(file.bytes);
  };
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(SAFE_HEADERS);
  });
  app.get('/', (request, reply) => send('index.html', request, reply));
  app.get<{ Params: { '*': string } }>('/page/*', (request, reply) => send(request.params['*'], request, reply));
  app.get('/events', { exposeHeadRoute: false }, (request, reply) => {
    if (events.add(reply.raw, mayKnowNames(request.raw, names))) reply.hijack();
    else reply.code(503).header('retry-after', '5').send('too many pages look at this agent\n');
  });
}
