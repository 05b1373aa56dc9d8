/** One entry of the allow-list `registries`. */
export interface RegistrySettings {
  /** What clients ask for: `docker.io`, `registry.local:5000`; `*.example.com` any host below it; `*` any host. */
  readonly host: string;
  /** http:// or https:// with host, port and path prefix; undefined: the right one for the host. */
  readonly endpoint?: string | undefined;
  /** Files in PEM form, read again when they change. */
  readonly ca?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly credentials?: RegistryCredentials | undefined;
}

export type RegistryCredentials =
  | { readonly dockerConfig: string }
  | { readonly username: string; readonly passwordFile: string };
