import { apiNonsense } from '../kubernetes/api-failure.ts';

/** A slice of 1,000 endpoints has some 300 kB; etcd takes no object above 1.5 MiB. */
const MAX_CHARS = 8 * 2 ** 20;

/**
 * JSON values, one a line, as they come in. What is behind the last end of a line is left out: a stream that was cut
 * says nothing by its last, unfinished line.
 */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  let partial = '';
  for await (const chunk of chunks) {
    const lines = (partial + decoder.decode(chunk, { stream: true })).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield parse(line);
    if (partial.length > MAX_CHARS) throw apiNonsense(`a line of more than ${MAX_CHARS} characters`);
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw apiNonsense('a line that is no JSON', error);
  }
}
