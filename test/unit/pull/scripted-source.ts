import { createHash } from 'node:crypto';
import { WindlassError } from '../../../src/errors.ts';
import type { SourceLabel } from '../../../src/metrics/metrics.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import type { BlobSource } from '../../../src/pull/blob-source.ts';
import type { BlobBody } from '../../../src/upstream/registry-client.ts';

type Step = IteratorResult<Uint8Array, undefined>;

/** A body whose every chunk, cut and stall a test decides. Ends by its signal as a real one does. */
export class ScriptedBody implements AsyncIterableIterator<Uint8Array, undefined> {
  /** The reader took it to its end, saw its failure, or left it: nothing is held for it any more. */
  over = false;
  /** By `return()`. */
  left = false;
  readonly #queue: (Uint8Array | { readonly error: unknown } | 'end')[] = [];
  #waiter: { resolve: (step: Step) => void; reject: (error: unknown) => void } | undefined;

  constructor(signal?: AbortSignal) {
    signal?.addEventListener('abort', () => this.fail(signal.reason), { once: true });
  }

  /** Chunks that nobody has asked for yet. */
  get queued(): number {
    return this.#queue.length;
  }

  push(...chunks: readonly Uint8Array[]): this {
    return this.#add(...chunks);
  }

  end(): this {
    return this.#add('end');
  }

  fail(error: unknown): this {
    return this.#add({ error });
  }

  next(): Promise<Step> {
    if (this.over) return Promise.resolve({ value: undefined, done: true });
    const step = new Promise<Step>((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
    this.#settle();
    return step;
  }

  async return(): Promise<Step> {
    this.over = true;
    this.left = true;
    this.#waiter?.resolve({ value: undefined, done: true });
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #add(...steps: readonly (Uint8Array | { readonly error: unknown } | 'end')[]): this {
    this.#queue.push(...steps);
    this.#settle();
    return this;
  }

  #settle(): void {
    if (this.#waiter === undefined) return;
    const step = this.#queue.shift();
    if (step === undefined) return;
    const { resolve, reject } = this.#waiter;
    this.#waiter = undefined;
    if (step instanceof Uint8Array) {
      resolve({ value: step, done: false });
      return;
    }
    this.over = true;
    if (step === 'end') resolve({ value: undefined, done: true });
    else reject(step.error);
  }
}

export interface Opening {
  readonly origin: RepositoryName;
  readonly digest: Digest;
  readonly offset: number;
  readonly end: number | undefined;
  readonly signal: AbortSignal;
  /** How many came before it. */
  readonly index: number;
}

export type Answer = (opening: Opening) => BlobBody | Promise<BlobBody>;

/** A source whose every answer a test decides; remembers what it was asked, and which bodies were not given back. */
export class ScriptedSource implements BlobSource {
  readonly label: SourceLabel;
  readonly openings: Opening[] = [];
  readonly bodies: ScriptedBody[] = [];
  answer: Answer;

  constructor(answer: Answer, label: SourceLabel = 'upstream') {
    this.answer = answer;
    this.label = label;
  }

  async open(
    origin: RepositoryName,
    digest: Digest,
    options: { readonly offset: number; readonly end?: number; readonly signal: AbortSignal },
  ): Promise<BlobBody> {
    const { offset, end, signal } = options;
    signal.throwIfAborted();
    const opening = { origin, digest, offset, end, signal, index: this.openings.length };
    this.openings.push(opening);
    const body = await this.answer(opening);
    if (body.body instanceof ScriptedBody) this.bodies.push(body.body);
    return body;
  }

  get offsets(): number[] {
    return this.openings.map(({ offset }) => offset);
  }

  /** Bodies whose connection would still be taken. */
  get leaked(): number {
    return this.bodies.filter(({ over }) => !over).length;
  }
}

/** The whole of `bytes` from the offset on, at once. */
export function whole(
  bytes: Uint8Array,
  options: { readonly saysSize?: boolean; readonly chunk?: number } = {},
): Answer {
  const { saysSize = true, chunk = 64 * 1024 } = options;
  return ({ offset, end, signal }) => {
    const body = new ScriptedBody(signal);
    body.push(...chunksOf(bytes.subarray(offset, end === undefined ? undefined : end + 1), chunk)).end();
    return { offset, sizeBytes: saysSize ? bytes.length : undefined, body };
  };
}

/** A body that the test feeds. */
export function manual(sizeBytes: number | undefined): { answer: Answer; body: () => ScriptedBody } {
  let body: ScriptedBody | undefined;
  return {
    answer: ({ offset, signal }) => {
      body = new ScriptedBody(signal);
      return { offset, sizeBytes, body };
    },
    body: () => {
      if (body === undefined) throw new Error('not opened yet');
      return body;
    },
  };
}

export function rejecting(code: ConstructorParameters<typeof WindlassError>[0], options = {}): Answer {
  return async () => {
    throw new WindlassError(code, `scripted ${code}`, options);
  };
}

/** Different bytes at every position, the same at every run. */
export function bytesOf(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  let state = seed;
  for (let i = 0; i < sizeBytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

export function chunksOf(bytes: Uint8Array, sizeBytes: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += sizeBytes) chunks.push(bytes.subarray(at, at + sizeBytes));
  return chunks;
}
