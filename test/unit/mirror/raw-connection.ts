import { connect, type Socket } from 'node:net';
import { eventually } from '../../support/eventually.ts';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One TCP connection, on which a test writes what it likes, and sees how it ends. */
export class RawConnection {
  readonly socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #end: 'open' | 'fin' | 'reset' = 'open';

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
    });
    socket.on('end', () => {
      if (this.#end === 'open') this.#end = 'fin';
    });
    socket.on('error', () => {
      this.#end = 'reset';
    });
  }

  static async open(address: string): Promise<RawConnection> {
    const [host = '', port] = address.split(':');
    const socket = connect({ host, port: Number(port), allowHalfOpen: true });
    const connection = new RawConnection(socket);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return connection;
  }

  /** What came and was not taken by `answer` yet. */
  get received(): Buffer {
    return this.#received;
  }

  get end(): 'open' | 'fin' | 'reset' {
    return this.#end;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): void {
    const lines = Object.entries({ host: 'mirror', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.send(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  }

  /** Takes the head of the next answer, when it has come. */
  async head(): Promise<Omit<RawAnswer, 'body'>> {
    const at = await eventually(
      () => {
        const found = this.#received.indexOf('\r\n\r\n');
        if (found === -1 && this.#end !== 'open') throw new Error(`no answer, but ${this.#end}`);
        return found === -1 ? undefined : found;
      },
      { everyMs: 2 },
    );
    const [first = '', ...lines] = this.#received.subarray(0, at).toString('latin1').split('\r\n');
    this.#received = this.#received.subarray(at + 4);
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    return { status: Number(first.split(' ')[1]), headers };
  }

  /** Takes the next whole answer. @param withoutBody of a HEAD */
  async answer(withoutBody = false): Promise<RawAnswer> {
    const { status, headers } = await this.head();
    if (withoutBody || status === 304) return { status, headers, body: Buffer.alloc(0) };
    if (headers['content-length'] !== undefined)
      return { status, headers, body: await this.take(Number(headers['content-length'])) };
    const parts: Buffer[] = [];
    for (;;) {
      const line = await eventually(
        () => {
          const at = this.#received.indexOf('\r\n');
          return at === -1 ? undefined : this.#received.subarray(0, at + 2);
        },
        { everyMs: 2 },
      );
      await this.take(line.length);
      const sizeBytes = Number.parseInt(line.toString(), 16);
      parts.push(await this.take(sizeBytes));
      await this.take(2);
      if (sizeBytes === 0) return { status, headers, body: Buffer.concat(parts) };
    }
  }

  async take(sizeBytes: number): Promise<Buffer> {
    await eventually(() => this.#received.length >= sizeBytes, { everyMs: 2, what: `${sizeBytes} bytes` });
    const bytes = this.#received.subarray(0, sizeBytes);
    this.#received = this.#received.subarray(sizeBytes);
    return bytes;
  }

  /** How the connection ended. */
  async ended(): Promise<'fin' | 'reset'> {
    return eventually(() => (this.#end === 'open' ? undefined : this.#end), { everyMs: 2 });
  }

  close(): void {
    this.socket.destroy();
  }
}
