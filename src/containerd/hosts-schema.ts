import { z } from 'zod';

const strings = z.array(z.string());
const oneOrMore = z.union([z.string(), strings]);

/** What containerd reads of a host; anything else it passes over. */
const hostFields = {
  capabilities: z.array(z.string().regex(/^(pull|resolve|push|referrers)$/i)).optional(),
  ca: oneOrMore.optional(),
  client: z.union([oneOrMore, z.array(z.union([z.string(), strings.length(2)]))]).optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(z.string(), oneOrMore).optional(),
  override_path: z.boolean().optional(),
  dial_timeout: z.string().optional(),
};

/**
 * A hosts.toml as containerd takes it (core/remotes/docker/config/hosts.go). A file that parses and does not fit is
 * passed over by containerd just as one that does not parse.
 */
export const hostsSchema = z.looseObject({
  ...hostFields,
  server: z.string().optional(),
  host: z.record(z.string(), z.looseObject(hostFields)).optional(),
});

export type Hosts = z.output<typeof hostsSchema>;
