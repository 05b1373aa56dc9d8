import { z } from 'zod';

const statusSchema = z.object({ code: z.number().optional(), message: z.string().optional() });

/** Of an object of kind Status, by which the API server says why it refuses; empty for anything else. */
export function readStatus(value: unknown): z.output<typeof statusSchema> {
  return statusSchema.safeParse(value).data ?? {};
}
