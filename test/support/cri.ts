import { fileURLToPath } from 'node:url';
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Scratch } from './scratch.ts';

const PROTO = fileURLToPath(new URL('./cri.proto', import.meta.url));
const SERVICE = 'runtime.v1.ImageService';
const PULL_DEADLINE_MS = 120_000;

export interface CriImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** Asks a containerd for images as the kubelet does: CRI's ImageService, gRPC over its socket. */
export class Cri {
  readonly #client: Client;

  constructor(scratch: Scratch, socketPath: string) {
    const ImageService = serviceConstructor();
    this.#client = new ImageService(`unix://${socketPath}`, credentials.createInsecure());
    scratch.defer(() => this.#client.close());
  }

  /** @returns the image's id */
  async pullImage(image: string): Promise<string> {
    const { imageRef } = await this.#call<{ imageRef: string }>('PullImage', { image: { image } });
    return imageRef;
  }

  async imageStatus(image: string): Promise<CriImage | undefined> {
    const answer = await this.#call<{ image: CriImage | null }>('ImageStatus', { image: { image } });
    return answer.image ?? undefined;
  }

  async removeImage(image: string): Promise<void> {
    await this.#call('RemoveImage', { image: { image } });
  }

  #call<T>(method: string, request: object): Promise<T> {
    const definition = serviceConstructor().service[method];
    if (definition === undefined) throw new Error(`no such method: ${method}`);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest<object, T>(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        { deadline: Date.now() + PULL_DEADLINE_MS },
        (error, answer) => (error !== null || answer === undefined ? reject(error) : resolve(answer)),
      );
    });
  }
}

function serviceConstructor(): ServiceClientConstructor {
  const found = loadPackageDefinition(loadSync(PROTO, { defaults: true }));
  let value: unknown = found;
  for (const part of SERVICE.split('.')) value = (value as Record<string, unknown>)[part];
  return value as ServiceClientConstructor;
}
