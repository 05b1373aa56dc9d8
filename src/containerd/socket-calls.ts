import { Client, credentials } from '@grpc/grpc-js';
import { field, stringOf } from './proto-strings.ts';

/** What containerd is asked over its socket; whoever may ask is as good as root. */
export interface SocketCalls extends Disposable {
  /** `v2.3.4`. */
  version(options: CallOptions): Promise<string>;
  /** As the kubelet does. @returns the image's id: the digest of its configuration */
  pullImage(reference: string, options: CallOptions): Promise<string>;
  /** By id or reference; one that is not there is no error. */
  removeImage(reference: string, options: CallOptions): Promise<void>;
}

export interface CallOptions {
  readonly timeoutMs: number;
}

/** Rejections are grpc-js's ServiceError: `code` (14: nobody there; 12: no such service), `details`. */
export function socketCalls(path: string): SocketCalls {
  const client = new Client(`unix://${path}`, credentials.createInsecure());
  const call = (method: string, request: Buffer, { timeoutMs }: CallOptions): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest<Buffer, Buffer>(
        method,
        (bytes) => bytes,
        (bytes) => bytes,
        request,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
      );
    });
  // CRI's PullImageRequest and RemoveImageRequest: field 1 is an ImageSpec, whose field 1 is the reference.
  const image = (reference: string) => field(1, field(1, reference));
  return {
    version: async (options) =>
      stringOf(await call('/containerd.services.version.v1.Version/Version', Buffer.alloc(0), options), 1),
    pullImage: async (reference, options) =>
      stringOf(await call('/runtime.v1.ImageService/PullImage', image(reference), options), 1),
    removeImage: async (reference, options) => {
      await call('/runtime.v1.ImageService/RemoveImage', image(reference), options);
    },
    [Symbol.dispose]: () => client.close(),
  };
}
