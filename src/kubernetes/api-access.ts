import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import type { Dispatcher } from 'undici';
import { apiFailure } from './api-failure.ts';

/** What a request to the API server needs. */
export interface ApiRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Of this request alone; who has it closes it. */
  readonly dispatcher: Dispatcher | undefined;
}

/**
 * This Pod's way to the API server: the address from its variables (no DNS needed), the CA and the token from the
 * files of its service account.
 *
 * The client reads the CA at each request, and the token again after a minute, as client-go does: the kubelet renews it
 * long before it expires. `renew` is for a token that was refused all the same.
 *
 * Its own Watch is not used: it leaves a stream that is silent for 30 s, which cannot be set (bookmarks come once a
 * minute at best), swallows what it cannot parse, and hides Retry-After.
 *
 * To be imported when it is needed: the client takes 50 MB, or 12 in a bundle that leaves out what is not named here.
 */
export class ApiAccess {
  readonly #podRoot: string;
  #config: KubeConfig | undefined;

  /** @param podRoot what stands for `/`; not empty in tests */
  constructor(podRoot = '') {
    this.#podRoot = podRoot;
  }

  /** @throws apiFailure if a file cannot be read */
  async request(path: string, query: Readonly<Record<string, string>>): Promise<ApiRequest> {
    try {
      this.#config ??= this.#load();
      const url = new URL(`${this.#config.getCurrentCluster()?.server}${path}`);
      for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
      const context = new RequestContext(url.href, HttpMethod.GET);
      await this.#config.applySecurityAuthentication(context);
      return { url, headers: context.getHeaders(), dispatcher: context.getDispatcher() };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw apiFailure(`the Pod's service account cannot be used: ${reason}`, { cause });
    }
  }

  /** The next request reads everything anew. */
  renew(): void {
    this.#config = undefined;
  }

  /** Half a configuration, of a load that failed, is not kept: the next request loads it anew. */
  #load(): KubeConfig {
    const config = new KubeConfig();
    config.loadFromCluster(this.#podRoot);
    return config;
  }
}
