import { DNS_LABEL } from './dns-names.ts';

/** A Kubernetes Service. Without a namespace: that of one's own Pod. */
export interface ServiceName {
  readonly namespace?: string;
  readonly name: string;
}

const FORM = new RegExp(`^(?:(${DNS_LABEL})/)?(${DNS_LABEL})$`);
const DNS_FORM = new RegExp(`^(${DNS_LABEL})\\.(${DNS_LABEL})\\.svc(?:\\.|$)`);
/** As IANA has them, and Kubernetes takes them: at most 15 characters, one of them a letter, no `--`. */
const PORT_NAME = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/;

/** `kube-system/windlass-peers` or `windlass-peers`; undefined for anything else. */
export function parseServiceName(text: string): ServiceName | undefined {
  const [, namespace, name] = FORM.exec(text) ?? [];
  if (name === undefined) return undefined;
  return namespace === undefined ? { name } : { namespace, name };
}

/** What somebody meant who wrote the service's DNS name; undefined where nothing is near. */
export function suggestServiceName(text: string): string | undefined {
  const [, name, namespace] = DNS_FORM.exec(text) ?? [];
  return namespace === undefined ? undefined : `${namespace}/${name}`;
}

/** A port's number, or the name that it has in the Service; undefined for anything else. */
export function parseServicePort(raw: unknown): number | string | undefined {
  const text = typeof raw === 'string' || typeof raw === 'number' ? String(raw) : '';
  if (PORT_NAME.test(text)) return text;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
