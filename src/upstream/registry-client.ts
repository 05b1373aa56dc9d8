import type { Digest } from '../oci/digest.ts';

export interface RequestOptions {
  readonly signal: AbortSignal;
}

/** Upstream's answer about a manifest; each field only if upstream sent it, and it is well formed. */
export interface ManifestHead {
  readonly digest: Digest | undefined;
  readonly contentType: string | undefined;
  readonly sizeBytes: number | undefined;
}

export interface ManifestBody extends ManifestHead {
  /** At most MAX_MANIFEST_BYTES. Not verified. */
  readonly bytes: Uint8Array;
}

export interface BlobHead {
  readonly sizeBytes: number | undefined;
}

export interface BlobBody {
  /** Of the whole blob, if upstream said. */
  readonly sizeBytes: number | undefined;
  /** Where in the blob the body begins: the position asked for, or 0 if upstream ignored or refused the range. */
  readonly offset: number;
  /**
   * The bytes as they arrive, not verified. Reading slowly slows upstream. Ends early with UPSTREAM_UNAVAILABLE
   * (cut, reset, or fewer bytes than Content-Length) or UPSTREAM_STALLED (no byte within the stall bound; time in
   * which the reader does not ask for more is not counted). Must be read to its end or left by `return()`/break,
   * which frees the connection and the slot.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** True while the memory of the last chunk is used again for one that comes after it: keep none of it. */
  readonly reused?: boolean;
}

/** Any answer that is passed on as it is (tags/list, referrers), body limited. */
export interface RelayedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
}

/**
 * One upstream registry as clients name it (`docker.io`). All calls reject with a WindlassError of the UPSTREAM_*
 * codes, NOT_FOUND or REGISTRY_DENIED, or with the signal's reason. Each waits its turn in the registry's budget.
 */
export interface RegistryClient {
  /** As in the settings, or as the client asked for where a wildcard allowed it. */
  readonly host: string;
  /** The entry of the settings that allows it, `*.example.com` say: what metrics name it by, so that names are few. */
  readonly label: string;
  /**
   * Tells the credentials that this node has for a repository from others, and says nothing of them; undefined where
   * it has none. @throws UPSTREAM_UNAVAILABLE if their file cannot be read.
   */
  credentialsFingerprint(repository: string): Promise<string | undefined>;
  headManifest(repository: string, reference: string, options: RequestOptions): Promise<ManifestHead>;
  getManifest(repository: string, reference: string, options: RequestOptions): Promise<ManifestBody>;
  headBlob(repository: string, digest: Digest, options: RequestOptions): Promise<BlobHead>;
  /** @param options.offset first byte wanted. @param options.end last byte wanted, inclusive. */
  getBlob(
    repository: string,
    digest: Digest,
    options: RequestOptions & { readonly offset?: number; readonly end?: number },
  ): Promise<BlobBody>;
  /** GET of a path below /v2/<repository>/ with its query. 401 and 403 reject; other statuses below 500 resolve. */
  relay(
    repository: string,
    path: string,
    options: RequestOptions & { readonly accept?: string | undefined },
  ): Promise<RelayedAnswer>;
}

/** The allow-list. */
export interface Registries {
  /**
   * @param host as clients name it, in lower case, with port if any.
   * @throws REGISTRY_DENIED if it is not on the list; nothing is connected or resolved then.
   */
  get(host: string): RegistryClient;
  /** Is it on the list (wildcards included)? */
  allows(host: string): boolean;
  close(): Promise<void>;
}
