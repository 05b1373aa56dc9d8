import { Client, credentials } from '@grpc/grpc-js';
import { type Method, methodsOf } from '../../src/containerd/api-method.ts';
import { type ImageRequest, PULL_IMAGE, REMOVE_IMAGE } from '../../src/containerd/cri-api.ts';
import { unary } from '../../src/containerd/unary-call.ts';
import type { Scratch } from './scratch.ts';

const PULL_MS = 120_000;

/** What windlass itself does not ask; numbers as in k8s.io/cri-api. */
const PROTO = `
syntax = "proto3";
package runtime.v1;

message ImageSpec {
  string image = 1;
}

message ImageStatusRequest {
  ImageSpec image = 1;
}

message Image {
  string id = 1;
  repeated string repo_tags = 2;
  repeated string repo_digests = 3;
}

message ImageStatusResponse {
  Image image = 1;
}
`;

export interface CriImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

const method = methodsOf(PROTO);

const IMAGE_STATUS: Method<ImageRequest, { readonly image: CriImage | null }> = method(
  '/runtime.v1.ImageService/ImageStatus',
  'ImageStatusRequest',
  'ImageStatusResponse',
);

/** Asks a containerd for images as the kubelet does: CRI's ImageService, gRPC over its socket. */
export class Cri {
  readonly #client: Client;

  constructor(scratch: Scratch, socketPath: string) {
    this.#client = new Client(`unix://${socketPath}`, credentials.createInsecure());
    scratch.defer(() => this.#client.close());
  }

  /** @returns the image's id */
  async pullImage(image: string): Promise<string> {
    const { imageRef } = await this.#call(PULL_IMAGE, image);
    return imageRef;
  }

  async imageStatus(image: string): Promise<CriImage | undefined> {
    const answer = await this.#call(IMAGE_STATUS, image);
    return answer.image ?? undefined;
  }

  async removeImage(image: string): Promise<void> {
    await this.#call(REMOVE_IMAGE, image);
  }

  #call<A>(method: Method<ImageRequest, A>, image: string): Promise<A> {
    return unary(this.#client, method, { image: { image } }, { timeoutMs: PULL_MS });
  }
}
