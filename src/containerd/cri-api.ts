import { type Method, methodsOf } from './api-method.ts';

/**
 * What `windlass doctor` calls of CRI, in its own words: copied from pkg/apis/runtime/v1/api.proto of k8s.io/cri-api
 * (Apache-2.0, Copyright The Kubernetes Authors), cut down to these calls and fields.
 */
const PROTO = `
syntax = "proto3";
package runtime.v1;

message ImageSpec {
  string image = 1;
}

message PullImageRequest {
  ImageSpec image = 1;
}

message PullImageResponse {
  string image_ref = 1;
}

message RemoveImageRequest {
  ImageSpec image = 1;
}

message RemoveImageResponse {
}
`;

const method = methodsOf(PROTO);

export interface ImageRequest {
  /** An image's reference or id. */
  readonly image: { readonly image: string };
}

/** As the kubelet calls it; `imageRef` is the digest of the image's configuration. */
export const PULL_IMAGE: Method<ImageRequest, { readonly imageRef: string }> = method(
  '/runtime.v1.ImageService/PullImage',
  'PullImageRequest',
  'PullImageResponse',
);

export const REMOVE_IMAGE: Method<ImageRequest, object> = method(
  '/runtime.v1.ImageService/RemoveImage',
  'RemoveImageRequest',
  'RemoveImageResponse',
);
