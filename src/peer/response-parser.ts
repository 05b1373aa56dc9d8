import { WindlassError } from '../errors.ts';
import type { Input } from './input.ts';

export interface ResponseHead {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

const MAX_HEAD_BYTES = 16 * 1024;
const MAX_CHUNK_LINE_BYTES = 32;
const STATUS_LINE = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\x20-\x7e]*)?$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*$/;

/**
 * Takes apart what another agent's HTTP/1.1 server answers, and nothing else: no 1xx, no trailers, no body that ends
 * with the connection.
 *
 *   head ─┬─ content-length ─▶ body(length) ────────────────────────────▶ done
 *         └─ chunked ─▶ size ─▶ body(chunk) ─▶ end of chunk ─▶ size …
 *                         └─ 0 ─▶ last line ────────────────────────────▶ done ── reset() ─▶ head
 */
export class ResponseParser {
  #state: 'head' | 'body' | 'size' | 'chunkEnd' | 'lastLine' | 'done' = 'head';
  #line = '';
  #head: ResponseHead | undefined;
  #chunked = false;
  /** Of the body, or of the chunk. */
  #left = 0;

  get head(): ResponseHead | undefined {
    return this.#head;
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /** For the next answer on the same connection. */
  reset(): void {
    this.#state = 'head';
    this.#line = '';
    this.#head = undefined;
  }

  /**
   * Takes bytes until the head is whole, body bytes are next, the answer is done, or all are taken.
   * @returns how many of the next bytes of `input` are body: those are the caller's to take, and told by `took`.
   * @throws PEER_NONSENSE
   */
  next(input: Input): number {
    while (input.at < input.end && this.#state !== 'done') {
      if (this.#state === 'head') {
        if (!this.#takeHead(input)) return 0;
        this.#beginBody();
        return 0;
      }
      if (this.#state === 'body') return Math.min(this.#left, input.end - input.at);
      const line = this.#takeLine(input, MAX_CHUNK_LINE_BYTES);
      if (line !== undefined) this.#chunkLine(line);
    }
    return 0;
  }

  took(bytes: number): void {
    this.#left -= bytes;
    if (this.#left === 0) this.#state = this.#chunked ? 'chunkEnd' : 'done';
  }

  #takeHead(input: Input): boolean {
    const found = Buffer.from(input.bytes.buffer, input.bytes.byteOffset + input.at, input.end - input.at);
    const before = this.#line.length;
    this.#line += found.toString('latin1', 0, MAX_HEAD_BYTES + 4);
    const end = this.#line.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (end > MAX_HEAD_BYTES || (end === -1 && this.#line.length > MAX_HEAD_BYTES)) throw nonsense('a head too long');
    if (end === -1) {
      input.at = input.end;
      return false;
    }
    input.at += end + 4 - before;
    this.#head = parseHead(this.#line.slice(0, end));
    this.#line = '';
    return true;
  }

  #beginBody(): void {
    const headers = this.#head?.headers;
    const length = headers?.get('content-length');
    const encoding = headers?.get('transfer-encoding');
    if (this.#head?.status === 204) {
      if ((length ?? '0') !== '0' || encoding !== undefined) throw nonsense('204 with a body');
      this.#state = 'done';
      return;
    }
    this.#chunked = encoding !== undefined;
    if (encoding !== undefined) {
      if (encoding !== 'chunked' || length !== undefined) throw nonsense('a body of unknown length');
      this.#state = 'size';
      return;
    }
    if (length === undefined || !/^\d{1,15}$/.test(length)) throw nonsense('a body of unknown length');
    this.#left = Number(length);
    this.#state = this.#left === 0 ? 'done' : 'body';
  }

  #chunkLine(line: string): void {
    if (this.#state === 'size') {
      if (!/^[0-9A-Fa-f]{1,12}$/.test(line)) throw nonsense('a chunk of unknown length');
      this.#left = Number.parseInt(line, 16);
      this.#state = this.#left === 0 ? 'lastLine' : 'body';
    } else {
      if (line !== '') throw nonsense('more than its chunk');
      this.#state = this.#state === 'lastLine' ? 'done' : 'size';
    }
  }

  /** Without its CRLF; undefined while it is not whole. */
  #takeLine(input: Input, max: number): string | undefined {
    while (input.at < input.end) {
      const byte = input.bytes[input.at] ?? 0;
      input.at += 1;
      if (byte === 0x0a && this.#line.endsWith('\r')) {
        const line = this.#line.slice(0, -1);
        this.#line = '';
        return line;
      }
      this.#line += String.fromCharCode(byte);
      if (this.#line.length > max) throw nonsense('a line too long');
    }
    return undefined;
  }
}

function parseHead(text: string): ResponseHead {
  const [first = '', ...lines] = text.split('\r\n');
  const status = STATUS_LINE.exec(first)?.[1];
  if (status === undefined) throw nonsense('no answer of HTTP/1.1');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ''] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || headers.has(name.toLowerCase())) throw nonsense('a header that is none, or twice');
    headers.set(name.toLowerCase(), value);
  }
  return { status: Number(status), headers };
}

function nonsense(what: string): WindlassError {
  return new WindlassError('PEER_NONSENSE', `the other agent sent ${what}`);
}
