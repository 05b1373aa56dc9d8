import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scratch } from '../../support/scratch.ts';

/**
 * A second way to upstream, through the test's own process, which can be late or down while the registry itself is
 * neither. It does not pass the data network: nothing of it is counted or limited there.
 */
export class Gate {
  /** How long a blob's first byte, headers included, is kept back. */
  firstByteMs = 0;
  /** Connections are reset. */
  down = false;
  readonly #server: Server;
  readonly #upstream: string;

  private constructor(server: Server, upstream: string) {
    this.#server = server;
    this.#upstream = upstream;
  }

  static async start(scratch: Scratch, host: string, upstream: string): Promise<Gate> {
    const server = createServer();
    const gate = new Gate(server, upstream);
    server.on('request', (incoming, response) => void gate.#pass(incoming, response));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, host, resolve);
    });
    scratch.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    return gate;
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `http://${address}:${port}`;
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    if (this.down) return void incoming.socket.resetAndDestroy();
    if (incoming.method === 'GET' && incoming.url?.includes('/blobs/')) await sleep(this.firstByteMs);
    const { method, headers } = incoming;
    const passed = request(`${this.#upstream}${incoming.url}`, { method, headers });
    passed.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    passed.on('error', () => response.destroy());
    response.on('close', () => passed.destroy());
    passed.end();
  }
}
