import { type Method, methodsOf } from './api-method.ts';

/**
 * What this agent calls of containerd's API, in the API's own words: copied from api/services/content/v1/content.proto,
 * api/services/events/v1/events.proto, api/services/version/v1/version.proto and api/types/event.proto of
 * github.com/containerd/containerd/api v1.11.1 (Apache-2.0, Copyright The containerd Authors), cut down to these calls
 * and fields. Text in a module, so that the one bundled file has it. Numbers and types are those of containerd 1.6 to 2.3.
 */
const PROTO = `
syntax = "proto3";
package containerd.services.content.v1;

message Timestamp {  // as google.protobuf.Timestamp
  int64 seconds = 1;
  int32 nanos = 2;
}

message Info {
  string digest = 1;
  int64 size = 2;
  Timestamp created_at = 3;
  map<string, string> labels = 5;
}

message InfoRequest {
  string digest = 1;
}

message InfoResponse {
  Info info = 1;
}

message ListContentRequest {
  repeated string filters = 1;
}

message ListContentResponse {
  repeated Info info = 1;
}

message SubscribeRequest {
  repeated string filters = 1;
}

message Envelope {
  string namespace = 2;
  string topic = 3;
}

message Empty {  // as google.protobuf.Empty
}

message VersionResponse {
  string version = 1;
}
`;

const method = methodsOf(PROTO);

/** Of one content, as the namespace knows it. */
export interface InfoMessage {
  readonly digest: string;
  readonly size: number;
  readonly createdAt?: { readonly seconds: number };
  readonly labels: Readonly<Record<string, string>>;
}

export const INFO: Method<{ readonly digest: string }, { readonly info?: InfoMessage }> = method(
  '/containerd.services.content.v1.Content/Info',
  'InfoRequest',
  'InfoResponse',
);

/** A stream of pages. */
export const LIST: Method<{ readonly filters: readonly string[] }, { readonly info: readonly InfoMessage[] }> = method(
  '/containerd.services.content.v1.Content/List',
  'ListContentRequest',
  'ListContentResponse',
);

/** A stream without end. */
export const SUBSCRIBE: Method<{ readonly filters: readonly string[] }, { readonly topic: string }> = method(
  '/containerd.services.events.v1.Events/Subscribe',
  'SubscribeRequest',
  'Envelope',
);

/** `v2.3.4`. */
export const VERSION: Method<object, { readonly version: string }> = method(
  '/containerd.services.version.v1.Version/Version',
  'Empty',
  'VersionResponse',
);
