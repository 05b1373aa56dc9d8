import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { WindlassError } from '../errors.ts';
import type { DigestAlgorithm } from '../oci/digest.ts';
import { type HashReply, type HashRequest, hashWorker } from './hash-worker.ts';

/** All that it keeps in its heap is a few messages; V8 would let it grow with the memory of the machine. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 32 };

interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, HashJob>;
}

/**
 * The threads that hash, started when the first job comes. One that dies takes its jobs with it, which fail; the
 * next job gets a new one.
 */
export class HashPool {
  readonly #maxThreads: number;
  readonly #threads = new Set<Thread>();
  #nextId = 1;
  #stopped = false;

  constructor(maxThreads = Math.max(1, Math.min(2, availableParallelism() - 1))) {
    this.#maxThreads = maxThreads;
  }

  begin(algorithm: DigestAlgorithm): HashJob {
    if (this.#stopped) throw stopping();
    const thread = this.#leastBusy();
    const id = this.#nextId;
    this.#nextId += 1;
    const job = new HashJob((request) => thread.worker.postMessage({ ...request, id }), {
      waiting: () => this.#hold(thread),
      ended: () => thread.jobs.delete(id),
    });
    thread.jobs.set(id, job);
    thread.worker.postMessage({ type: 'begin', id, algorithm } satisfies HashRequest);
    return job;
  }

  /** Jobs under way fail. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  #leastBusy(): Thread {
    let best: Thread | undefined;
    for (const thread of this.#threads) {
      if (best === undefined || thread.jobs.size < best.jobs.size) best = thread;
    }
    if (best !== undefined && (best.jobs.size === 0 || this.#threads.size >= this.#maxThreads)) return best;
    return this.#start();
  }

  #start(): Thread {
    const worker = new Worker(`(${hashWorker})()`, { eval: true, execArgv: [], resourceLimits: WORKER_LIMITS });
    const thread: Thread = { worker, jobs: new Map() };
    const { jobs } = thread;
    let cause: unknown;
    this.#threads.add(thread);
    worker.unref();
    worker.on('message', (message: HashReply) => {
      jobs.get(message.id)?.receive(message);
      this.#hold(thread);
    });
    worker.on('error', (error) => {
      cause = error;
    });
    // Only now is it sure that it uses no descriptor any more.
    worker.on('exit', (code) => {
      this.#threads.delete(thread);
      const error = this.#stopped
        ? stopping()
        : new WindlassError('STORE_UNUSABLE', `the hashing thread ended (code ${code})`, { cause });
      for (const job of [...jobs.values()]) job.lost(error);
    });
    return thread;
  }

  /** A thread keeps the process alive exactly while somebody waits for it. */
  #hold({ worker, jobs }: Thread): void {
    for (const job of jobs.values()) {
      if (job.awaited) {
        worker.ref();
        return;
      }
    }
    worker.unref();
  }
}

interface Waiter {
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

type WithoutId<R> = R extends unknown ? Omit<R, 'id'> : never;

/**
 * One digest in the making: first bytes of a file, then bytes of memory. To be dropped at the end, in any case. Fails
 * with the system's error, its `code` included, or with EOF where the file is shorter than was said.
 */
export class HashJob {
  readonly #post: (request: WithoutId<HashRequest>) => void;
  readonly #pool: { readonly waiting: () => void; readonly ended: () => void };
  readonly #waiters = new Set<Waiter>();
  readonly #digest = Promise.withResolvers<string>();
  readonly #gone = Promise.withResolvers<void>();
  #digestAwaited = false;
  #failure: Error | undefined;
  #dropping = false;
  #hashed = 0;

  constructor(
    post: (request: WithoutId<HashRequest>) => void,
    pool: { readonly waiting: () => void; readonly ended: () => void },
  ) {
    this.#post = post;
    this.#pool = pool;
    this.#digest.promise.catch(() => undefined);
  }

  /** Of the bytes that were given, those below are hashed. */
  get hashed(): number {
    return this.#hashed;
  }

  /** Does anybody wait for an answer? */
  get awaited(): boolean {
    return this.#digestAwaited || this.#dropping || this.#waiters.size > 0;
  }

  file(fd: number, to: number): void {
    this.#post({ type: 'file', fd, to });
  }

  /** They are read where they are: not to be changed until they are hashed, or the job was dropped. */
  bytes(bytes: Uint8Array<SharedArrayBuffer>): void {
    this.#post({ type: 'bytes', bytes });
  }

  /** Resolves when the bytes below `position` are hashed. */
  async reached(position: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#hashed >= position) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.add({ position, resolve, reject });
    this.#pool.waiting();
    await promise;
  }

  /** Of all that was given. @returns hex */
  async digest(): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#digestAwaited = true;
    this.#pool.waiting();
    this.#post({ type: 'digest' });
    return await this.#digest.promise;
  }

  /** Gives up whatever is under way. Resolves when the file may be closed. Idempotent. */
  async drop(): Promise<void> {
    if (!this.#dropping) {
      this.#dropping = true;
      this.#fail(new Error('hashing was given up'));
      this.#pool.waiting();
      this.#post({ type: 'drop' });
    }
    await this.#gone.promise;
  }

  receive(message: HashReply): void {
    if (message.type === 'progress') {
      this.#hashed = message.hashed;
      for (const waiter of this.#waiters) {
        if (waiter.position > message.hashed) continue;
        this.#waiters.delete(waiter);
        waiter.resolve();
      }
    } else if (message.type === 'digest') {
      this.#digestAwaited = false;
      this.#digest.resolve(message.hex);
    } else if (message.type === 'failed') {
      this.#fail(Object.assign(new Error(message.message), { code: message.code }));
    } else {
      this.#end();
    }
  }

  /** The thread is gone. */
  lost(error: Error): void {
    this.#fail(error);
    this.#end();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#digestAwaited = false;
    this.#digest.reject(this.#failure);
    for (const waiter of this.#waiters) waiter.reject(this.#failure);
    this.#waiters.clear();
  }

  #end(): void {
    this.#dropping = true;
    this.#gone.resolve();
    this.#pool.ended();
  }
}

function stopping(): WindlassError {
  return new WindlassError('STOPPING', 'the store is stopped');
}
