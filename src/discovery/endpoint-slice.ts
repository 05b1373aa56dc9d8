import { isIP } from 'node:net';
import { z } from 'zod';

/** What a slice says of one agent. */
export interface Endpoint {
  /** An IP address. */
  readonly host: string;
  readonly nodeName?: string;
  readonly zone?: string;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** One of the parts in which the API tells the endpoints of a Service; each has one family of addresses. */
export interface EndpointSlice {
  readonly name: string;
  readonly resourceVersion: string;
  /** By name; the only port of a Service may have the empty one. */
  readonly ports: ReadonlyMap<string, number>;
  readonly endpoints: readonly Endpoint[];
}

// As much of discovery.k8s.io/v1 as is read here. Go writes an empty list, or what is not set, as null.
const conditionsSchema = z.object({
  ready: z.boolean().nullish(),
  serving: z.boolean().nullish(),
  terminating: z.boolean().nullish(),
});
const endpointSchema = z.object({
  addresses: z.array(z.string()).nullish(),
  conditions: conditionsSchema.nullish(),
  nodeName: z.string().nullish(),
  zone: z.string().nullish(),
});
const portSchema = z.object({ name: z.string().nullish(), port: z.number().nullish() });
const sliceSchema = z.object({
  metadata: z.object({ name: z.string().min(1), resourceVersion: z.string().default('') }),
  endpoints: z.array(endpointSchema).nullish(),
  ports: z.array(portSchema).nullish(),
});

/** @returns undefined for what is no EndpointSlice */
export function readSlice(value: unknown): EndpointSlice | undefined {
  const { data } = sliceSchema.safeParse(value);
  if (data === undefined) return undefined;
  const { metadata, endpoints, ports } = data;
  return {
    ...metadata,
    ports: new Map((ports ?? []).flatMap(({ name, port }) => (port == null ? [] : [[name ?? '', port]]))),
    endpoints: (endpoints ?? []).flatMap(readEndpoint),
  };
}

function readEndpoint({ addresses, conditions, nodeName, zone }: z.output<typeof endpointSchema>): Endpoint[] {
  // All addresses of one endpoint are as good as the first, says the API. Names (addressType FQDN) are left out.
  const host = addresses?.[0] ?? '';
  if (isIP(host) === 0) return [];
  return [
    {
      host,
      ...(nodeName ? { nodeName } : {}),
      ...(zone ? { zone } : {}),
      serving: isServing(conditions ?? {}),
      terminating: conditions?.terminating ?? false,
    },
  ];
}

/**
 * With `publishNotReadyAddresses` the controller sets `ready` for every Pod, those of dead nodes too: only `serving`
 * tells. Who wrote the slice may know no `serving`: then, says the API, `ready` counts, and unknown is ready.
 */
function isServing({ serving, ready }: z.output<typeof conditionsSchema>): boolean {
  return serving ?? ready ?? true;
}
