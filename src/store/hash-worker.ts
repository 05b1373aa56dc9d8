import type { Hash } from 'node:crypto';

export type HashRequest =
  | { readonly type: 'begin'; readonly id: number; readonly algorithm: string }
  /** The file holds all bytes below `to`. Never after `bytes`. */
  | { readonly type: 'file'; readonly id: number; readonly fd: number; readonly to: number }
  /** The bytes that follow, in memory that both threads see. */
  | { readonly type: 'bytes'; readonly id: number; readonly bytes: Uint8Array<SharedArrayBuffer> }
  /** Nothing follows: answer with the digest, once all was hashed. */
  | { readonly type: 'digest'; readonly id: number }
  /** Forget it: once answered, the descriptor is not used any more. */
  | { readonly type: 'drop'; readonly id: number };

export type HashReply =
  | { readonly type: 'progress'; readonly id: number; readonly hashed: number }
  | { readonly type: 'digest'; readonly id: number; readonly hex: string }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly code: unknown }
  | { readonly type: 'dropped'; readonly id: number };

interface Job {
  readonly id: number;
  readonly hash: Hash;
  hashed: number;
  fd: number;
  fileTo: number;
  readonly chunks: Uint8Array<SharedArrayBuffer>[];
  ending: boolean;
}

/**
 * The thread that hashes. It reads files itself, by a descriptor of this process, and shared memory where it is: bytes
 * never pass between threads. Jobs take turns of one slice each: a small one does not wait for a large one.
 *
 * It is started from the text of this function, which so may use nothing around it but types: a thread that loads a
 * file of TypeScript loads the stripper of types too, for 10 MiB (in a checkout; compiled it makes no difference).
 */
export function hashWorker(): void {
  const { createHash } = process.getBuiltinModule('node:crypto');
  const { readSync } = process.getBuiltinModule('node:fs');
  const { parentPort: port } = process.getBuiltinModule('node:worker_threads');
  if (port === null) throw new Error('this runs in a worker thread only');
  const SLICE_BYTES = 1024 * 1024;
  const buffer = new Uint8Array(SLICE_BYTES);
  const jobs = new Map<number, Job>();
  let scheduled = false;

  port.on('message', (request: HashRequest) => {
    const { id } = request;
    if (request.type === 'begin') {
      const hash = createHash(request.algorithm);
      jobs.set(id, { id, hash, hashed: 0, fd: -1, fileTo: 0, chunks: [], ending: false });
      return;
    }
    if (request.type === 'drop') {
      jobs.delete(id);
      reply({ type: 'dropped', id });
      return;
    }
    const job = jobs.get(id);
    if (job === undefined) return; // failed meanwhile
    if (request.type === 'file') {
      job.fd = request.fd;
      job.fileTo = request.to;
    } else if (request.type === 'bytes') {
      job.chunks.push(request.bytes);
    } else {
      job.ending = true;
    }
    schedule();
  });

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    // Messages are taken in between rounds.
    setImmediate(() => {
      scheduled = false;
      for (const job of jobs.values()) {
        try {
          if (hashSlice(job)) schedule();
        } catch (error) {
          jobs.delete(job.id);
          // An error that is posted loses its code.
          const { message, code } = error as NodeJS.ErrnoException;
          reply({ type: 'failed', id: job.id, message, code });
        }
      }
    });
  }

  /** @returns whether there is more to do */
  function hashSlice(job: Job): boolean {
    if (job.hashed < job.fileTo) {
      const count = readSync(job.fd, buffer, 0, Math.min(SLICE_BYTES, job.fileTo - job.hashed), job.hashed);
      if (count === 0) {
        throw Object.assign(new Error(`the file ends at ${job.hashed}, before ${job.fileTo}`), { code: 'EOF' });
      }
      job.hash.update(buffer.subarray(0, count));
      job.hashed += count;
    } else {
      const chunk = job.chunks.shift();
      if (chunk !== undefined) {
        job.hash.update(chunk);
        job.hashed += chunk.byteLength;
      } else {
        if (job.ending) {
          jobs.delete(job.id);
          reply({ type: 'digest', id: job.id, hex: job.hash.digest('hex') });
        }
        return false;
      }
    }
    reply({ type: 'progress', id: job.id, hashed: job.hashed });
    return job.hashed < job.fileTo || job.chunks.length > 0 || job.ending;
  }

  function reply(message: HashReply): void {
    port?.postMessage(message);
  }
}
