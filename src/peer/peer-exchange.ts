import { WindlassError } from '../errors.ts';
import { MAX_CALL_BYTES } from '../routing/peer-calls.ts';
import type { Input } from './input.ts';
import type { PeerConnection, ResponseHandler } from './peer-connection.ts';
import type { ResponseHead } from './response-parser.ts';

export interface Answer {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

/** Request lines, as both ends' data planes know them. @param headers each ends with CRLF. */
export function requestHead(method: string, path: string, headers: string, bodyBytes?: number): string {
  const length = bodyBytes === undefined ? '' : `content-type: application/json\r\ncontent-length: ${bodyBytes}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nhost: windlass\r\n${headers}${length}\r\n`;
}

/**
 * One request with its whole answer. The connection can be used again when it resolves; else it is closed.
 * @throws PEER_GONE, PEER_NONSENSE (its answer is longer than MAX_CALL_BYTES, too); the signal's reason.
 */
export function exchange(
  connection: PeerConnection,
  method: string,
  path: string,
  headers: string,
  body: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      connection.destroy();
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      reject(signal.reason);
      connection.destroy();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const settle = () => signal.removeEventListener('abort', onAbort);
    let answerHead: ResponseHead | undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const handler: ResponseHandler = {
      onHead: (head) => {
        answerHead = head;
      },
      onBody: (input: Input) => {
        bytes += input.end - input.at;
        if (bytes > MAX_CALL_BYTES) throw new WindlassError('PEER_NONSENSE', 'an answer that is too long');
        chunks.push(Buffer.from(input.bytes.subarray(input.at, input.end)));
        input.at = input.end;
        return true;
      },
      onDone: () => {
        settle();
        connection.used = true;
        if (answerHead !== undefined) resolve({ head: answerHead, body: Buffer.concat(chunks, bytes) });
      },
      onFailed: (error) => {
        settle();
        reject(error);
      },
    };
    connection.request(requestHead(method, path, headers, body?.length), body, handler);
  });
}
