import { DNS_LABEL, DNS_SUBDOMAIN, DNS_SUBDOMAIN_CHARS } from './dns-names.ts';

const LABEL_FORM = new RegExp(`^${DNS_LABEL}$`);
const SUBDOMAIN_FORM = new RegExp(`^${DNS_SUBDOMAIN}$`);

/** A Secret, a DaemonSet: parts in lower case between dots. */
export function isObjectName(text: string): boolean {
  return text.length <= DNS_SUBDOMAIN_CHARS && SUBDOMAIN_FORM.test(text);
}

export function isNamespaceName(text: string): boolean {
  return LABEL_FORM.test(text);
}

/** A key within the data of a Secret. */
export function isDataKey(text: string): boolean {
  return /^[-._a-zA-Z0-9]{1,253}$/.test(text) && text !== '.' && !text.startsWith('..');
}
