import { hasCode, type WindlassError } from '../errors.ts';
import type { RepositoryName } from '../oci/reference.ts';

/** A blob has few homes; who names many made-up ones must not have each of them asked. */
const MAX_ORIGINS = 16;

/**
 * The repositories that readers of one ingest named. What one of them answers says nothing of the others: a 404
 * or 401 fails the readers that named it, and the ingest goes on with the next.
 */
export class Origins {
  readonly #origins = new Map<string, { readonly origin: RepositoryName; failure: WindlassError | undefined }>();
  #lastFailure: WindlassError | undefined;

  static keyOf(origin: RepositoryName): string {
    return `${origin.registry}/${origin.repository}`;
  }

  add(origin: RepositoryName): void {
    const key = Origins.keyOf(origin);
    if (this.#origins.size >= MAX_ORIGINS) return;
    if (!this.#origins.has(key)) this.#origins.set(key, { origin, failure: undefined });
  }

  /** The first that has not failed. */
  current(): RepositoryName | undefined {
    for (const { origin, failure } of this.#origins.values()) if (failure === undefined) return origin;
    return undefined;
  }

  /** The last that was told. */
  get lastFailure(): WindlassError | undefined {
    return this.#lastFailure;
  }

  fail(origin: RepositoryName, failure: WindlassError): void {
    this.#lastFailure = failure;
    const entry = this.#origins.get(Origins.keyOf(origin));
    if (entry !== undefined) entry.failure = failure;
  }

  /** Any failure of this origin; the last argument asks only for those that are final: refused, or not there. */
  failureOf(key: string, only?: 'final'): WindlassError | undefined {
    const failure = this.#origins.get(key)?.failure;
    return only === 'final' && !isFinal(failure) ? undefined : failure;
  }
}

/** Will asking the same repository again, soon, bring the same answer? */
export function isFinal(error: unknown): boolean {
  return hasCode(error, 'NOT_FOUND', 'UPSTREAM_UNAUTHORIZED', 'REGISTRY_DENIED');
}
