import type { RegistrySettings } from '../config/registry-settings.ts';
import { parseRegistryHost } from '../oci/reference.ts';

export interface AllowListMatch {
  readonly settings: RegistrySettings;
  /** The client chose the host; the operator only allowed its kind. */
  readonly byWildcard: boolean;
}

/** `registries` of the settings: an exact entry wins over `*.suffix`, the longest suffix over a shorter, `*` is last. */
export class AllowList {
  readonly #exact = new Map<string, RegistrySettings>();
  /** Longest suffix first; `*` has the empty one. */
  readonly #wildcards: { readonly suffix: string; readonly settings: RegistrySettings }[] = [];

  constructor(registries: readonly RegistrySettings[]) {
    for (const settings of registries) {
      const host = settings.host.toLowerCase();
      if (host.startsWith('*')) this.#wildcards.push({ suffix: host.slice(1), settings });
      else this.#exact.set(host, settings);
    }
    this.#wildcards.sort((a, b) => b.suffix.length - a.suffix.length);
  }

  /** @param host in lower case, with port if any. A wildcard without a port allows every port. */
  match(host: string): AllowListMatch | undefined {
    const settings = this.#exact.get(host);
    if (settings !== undefined) return { settings, byWildcard: false };
    // What a client made up may only be a host: "evil.test/.example.com" ends like one that is allowed.
    if (!isRegistryHost(host)) return undefined;
    const name = host.replace(/:\d+$/, '');
    for (const wildcard of this.#wildcards) {
      const candidate = /:\d+$/.test(wildcard.suffix) ? host : name;
      if (candidate.endsWith(wildcard.suffix) && candidate.length > wildcard.suffix.length) {
        return { settings: wildcard.settings, byWildcard: true };
      }
    }
    return undefined;
  }
}

function isRegistryHost(text: string): boolean {
  try {
    return parseRegistryHost(text) === text;
  } catch {
    return false;
  }
}
