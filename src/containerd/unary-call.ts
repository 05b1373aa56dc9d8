import { type Client, Metadata } from '@grpc/grpc-js';
import type { Method } from './api-method.ts';

export interface UnaryOptions {
  readonly timeoutMs: number;
  readonly metadata?: Metadata;
  readonly signal?: AbortSignal;
}

/** One question, one answer. Rejects with grpc-js's ServiceError, or with the signal's reason. */
export function unary<Q, A>(
  client: Client,
  { path, serialize, deserialize }: Method<Q, A>,
  request: Q,
  { timeoutMs, metadata = new Metadata(), signal }: UnaryOptions,
): Promise<A> {
  signal?.throwIfAborted();
  return new Promise<A>((resolve, reject) => {
    const options = { deadline: Date.now() + timeoutMs };
    const call = client.makeUnaryRequest(path, serialize, deserialize, request, metadata, options, (error, answer) => {
      signal?.removeEventListener('abort', cancel);
      if (signal?.aborted === true) reject(signal.reason);
      else if (error !== null || answer === undefined) reject(error);
      else resolve(answer);
    });
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
  });
}
