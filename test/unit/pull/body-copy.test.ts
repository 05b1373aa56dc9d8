import { it } from 'vitest';
import { copyBody } from '../../../src/pull/body-copy.ts';
import { MemoryBlobStore } from '../../../src/store/memory-blob-store.ts';
import { digestOf, seededBytes } from '../../support/image.ts';

const CHUNK = 100_000;

it('keeps nothing of a chunk whose memory is used again, whatever came before it', async () => {
  const bytes = seededBytes('reused', 10 * CHUNK);
  const digest = digestOf(bytes);
  const store = new MemoryBlobStore({ maxBytes: 100 * CHUNK });
  await store.start();
  const writer = await store.create(digest, { sizeBytes: bytes.length });
  const memory = Buffer.alloc(CHUNK);
  let reused = false;
  const body = {
    sizeBytes: bytes.length,
    offset: 0,
    get reused() {
      return reused;
    },
    body: (async function* () {
      for (let at = 0; at < 3 * CHUNK; at += CHUNK) yield bytes.subarray(at, at + CHUNK);
      reused = true;
      for (let at = 3 * CHUNK; at < bytes.length; at += CHUNK) {
        bytes.copy(memory, 0, at, at + CHUNK);
        yield memory;
        memory.fill(0);
      }
    })(),
  };
  await copyBody(body, writer, bytes.length, () => {});
  await writer.verify();
});
