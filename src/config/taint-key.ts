import { DNS_SUBDOMAIN, DNS_SUBDOMAIN_CHARS } from './dns-names.ts';

const NAME = '[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
const FORM = new RegExp(`^(?:(${DNS_SUBDOMAIN})/)?${NAME}$`);

/** As Kubernetes has them: `windlass.dev/agent-not-ready`. */
export function isTaintKey(text: string): boolean {
  const [whole, prefix = ''] = FORM.exec(text) ?? [];
  return whole !== undefined && prefix.length <= DNS_SUBDOMAIN_CHARS;
}

/** What somebody meant who wrote the whole taint, as kubectl takes it: `key=value:effect`; undefined where nothing is near. */
export function suggestTaintKey(text: string): string | undefined {
  const [key = ''] = text.split(/[=:]/, 1);
  return key !== text && isTaintKey(key) ? key : undefined;
}
