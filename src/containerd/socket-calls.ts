import { Client, credentials } from '@grpc/grpc-js';
import { VERSION } from './content-api.ts';
import { PULL_IMAGE, REMOVE_IMAGE } from './cri-api.ts';
import { unary } from './unary-call.ts';

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
  const client = new Client(`unix:${path}`, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
  const request = (reference: string) => ({ image: { image: reference } });
  return {
    version: async (options) => (await unary(client, VERSION, {}, options)).version,
    pullImage: async (reference, options) => (await unary(client, PULL_IMAGE, request(reference), options)).imageRef,
    removeImage: async (reference, options) => {
      await unary(client, REMOVE_IMAGE, request(reference), options);
    },
    [Symbol.dispose]: () => client.close(),
  };
}
