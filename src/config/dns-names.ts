/** Patterns of names as Kubernetes has them, to be put into others. A label: at most 63 characters. */
export const DNS_LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

const PART = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
/** Parts between dots, none of which has a bound of its own: at most 253 characters together, which is not said here. */
export const DNS_SUBDOMAIN = `${PART}(?:\\.${PART})*`;
export const DNS_SUBDOMAIN_CHARS = 253;
