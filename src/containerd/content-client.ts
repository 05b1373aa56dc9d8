import { type CallOptions, Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { Digest } from '../oci/digest.ts';
import type { Method } from './api-method.ts';
import { INFO, type InfoMessage, LIST, SUBSCRIBE } from './content-api.ts';
import { unary } from './unary-call.ts';

/** A page is a hundred contents; the labels of large indexes name every child. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
const INFO_MS = 10_000;
const LIST_MS = 120_000;

/** What is asked of containerd about its content. Calls reject where it cannot be reached, or with the signal's reason. */
export interface ContentClient {
  /** All that the namespace holds, page by page. */
  list(signal: AbortSignal): AsyncIterable<readonly InfoMessage[]>;
  /** Undefined where the namespace does not hold it. */
  info(digest: Digest, signal: AbortSignal): Promise<InfoMessage | undefined>;
  /** The topic of each event that may change what is held, as it comes. Ends with the connection. */
  changes(signal: AbortSignal): AsyncIterable<string>;
  /** Ends what is under way. */
  close(): void;
}

/** Connects at the first call. */
export function connectToContent(socketPath: string, namespace: string): ContentClient {
  return new GrpcContentClient(socketPath, namespace);
}

/** containerd's own API over its socket. */
class GrpcContentClient implements ContentClient {
  readonly #client: Client;
  readonly #metadata = new Metadata();
  readonly #namespace: string;

  constructor(socketPath: string, namespace: string) {
    this.#namespace = namespace;
    this.#metadata.set('containerd-namespace', namespace);
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      // A proxy of the environment is for registries.
      'grpc.enable_http_proxy': 0,
    });
  }

  async *list(signal: AbortSignal): AsyncGenerator<readonly InfoMessage[]> {
    const deadline = Date.now() + LIST_MS;
    for await (const { info } of this.#stream(LIST, { filters: [] }, signal, { deadline })) yield info;
  }

  async *changes(signal: AbortSignal): AsyncGenerator<string> {
    // Topics are told from the beginning: snapshots, tasks and containers have their own, and far more of them.
    const filters = ['images', 'content'].map((room) => `namespace=="${this.#namespace}",topic~="^/${room}/"`);
    for await (const { topic } of this.#stream(SUBSCRIBE, { filters }, signal)) yield topic;
  }

  async info(digest: Digest, signal: AbortSignal): Promise<InfoMessage | undefined> {
    try {
      const options = { timeoutMs: INFO_MS, metadata: this.#metadata, signal };
      const { info } = await unary(this.#client, INFO, { digest }, options);
      return info;
    } catch (error) {
      if ((error as Partial<ServiceError>).code === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#client.close();
  }

  async *#stream<Q, A>(
    { path, serialize, deserialize }: Method<Q, A>,
    request: Q,
    signal: AbortSignal,
    options: CallOptions = {},
  ): AsyncGenerator<A> {
    signal.throwIfAborted();
    const call = this.#client.makeServerStreamRequest(path, serialize, deserialize, request, this.#metadata, options);
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      for await (const answer of call) yield answer as A;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }
}
