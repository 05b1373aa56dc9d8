import { type IncomingHttpHeaders, request } from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  /**
   * How the body ended: `whole`; `fin`: fewer bytes than promised, then the connection's orderly end, which
   * container runtimes resume from; `reset`: which fails their pull.
   */
  readonly end: 'whole' | 'fin' | 'reset';
}

export interface HttpGetOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
  /** Called with each part of the body and its position. With it the bytes are not kept. */
  readonly onBytes?: (part: Buffer, position: number) => void;
}

/** One request on a connection of its own, which tells apart how an answer ends. Rejects if there is none. */
export function httpGet(url: string, options: HttpGetOptions = {}): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, signal, onBytes } = options;
    const sent = request(url, { method, headers, agent: false, ...(signal === undefined ? {} : { signal }) });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const parts: Buffer[] = [];
      let position = 0;
      const done = (end: HttpAnswer['end']) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(parts), end });
      let reset = false;
      response.socket.on('error', (error: NodeJS.ErrnoException) => {
        reset ||= error.code === 'ECONNRESET' && error.syscall === 'read';
      });
      response.on('data', (part: Buffer) => {
        if (onBytes === undefined) parts.push(part);
        else onBytes(part, position);
        position += part.length;
      });
      // Node reports a body that ends early as an error as well; which of the two it was, the socket knows.
      response.on('error', () => {});
      response.on('close', () => done(response.complete ? 'whole' : reset ? 'reset' : 'fin'));
    });
    sent.end();
  });
}
