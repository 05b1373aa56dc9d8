import type { LookupAddress } from 'node:dns';
import pino, { type Logger } from 'pino';
import type { RegistrySettings } from '../../../src/config/registry-settings.ts';
import { WindlassError } from '../../../src/errors.ts';
import { Metrics } from '../../../src/metrics/metrics.ts';
import { createRegistries, type RegistriesOptions } from '../../../src/upstream/registries.ts';
import type { Registries, RegistryClient } from '../../../src/upstream/registry-client.ts';
import type { Scratch } from '../scratch.ts';
import { FakeRegistry, type Habit } from './fake-registry.ts';
import type { FakeServer } from './fake-server.ts';

export interface OpenClient {
  readonly client: RegistryClient;
  readonly registries: Registries;
  readonly metrics: Metrics;
  readonly log: readonly Record<string, unknown>[];
}

/** Registries with short bounds, no proxy, and whatever a test says otherwise. */
export function openRegistries(
  registries: readonly RegistrySettings[],
  options: Partial<RegistriesOptions> = {},
): Omit<OpenClient, 'client'> {
  const metrics = new Metrics();
  const { logger, log } = recordingLogger();
  return {
    metrics,
    log,
    registries: createRegistries({ registries, proxy: '', ca: [], env: {}, metrics, logger, ...options }),
  };
}

export function openClient(settings: RegistrySettings, options: Partial<RegistriesOptions> = {}): OpenClient {
  const open = openRegistries([settings], options);
  return { ...open, client: open.registries.get(settings.host) };
}

/** A resolver that knows these names, and no others. */
export function fakeLookup(
  names: Readonly<Record<string, readonly string[]>>,
  asked: string[] = [],
): NonNullable<RegistriesOptions['lookup']> {
  const lookup = (hostname: string, _options: unknown, callback: unknown): void => {
    asked.push(hostname);
    const answer = callback as (error: Error | null, addresses: LookupAddress[]) => void;
    const addresses = names[hostname];
    if (addresses === undefined) {
      answer(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' }), []);
    } else {
      answer(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    }
  };
  return lookup as unknown as NonNullable<RegistriesOptions['lookup']>;
}

function recordingLogger(): { logger: Logger; log: Record<string, unknown>[] } {
  const log: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => log.push(JSON.parse(line)) });
  return { logger, log };
}

export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** No abort. */
export const patient = { signal: new AbortController().signal };

/** What a call rejects with. Fails the test if it resolves, or rejects with what is no WindlassError. */
export async function failure(promise: Promise<unknown>): Promise<WindlassError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof WindlassError)) throw error;
  return error;
}

/** A fake registry with these habits, and a client of it that knows it as registry.test. */
export async function registryWith(
  scratch: Scratch,
  habits: readonly Habit[],
  options: Partial<RegistriesOptions> = {},
  settings: Partial<RegistrySettings> = {},
): Promise<OpenClient & { readonly registry: FakeRegistry; readonly server: FakeServer }> {
  const registry = await FakeRegistry.start({ habits });
  scratch.defer(() => registry.close());
  const open = openClient({ host: 'registry.test', endpoint: registry.server.url, ...settings }, options);
  scratch.defer(() => open.registries.close());
  return { ...open, registry, server: registry.server };
}
