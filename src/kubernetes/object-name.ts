const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const LABEL_FORM = new RegExp(`^${LABEL}$`);
const SUBDOMAIN_FORM = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const SUBDOMAIN_CHARS = 253;

/** A Secret, a DaemonSet: parts in lower case between dots. */
export function isObjectName(text: string): boolean {
  return text.length <= SUBDOMAIN_CHARS && SUBDOMAIN_FORM.test(text);
}

export function isNamespaceName(text: string): boolean {
  return LABEL_FORM.test(text);
}

/** A key within the data of a Secret. */
export function isDataKey(text: string): boolean {
  return /^[-._a-zA-Z0-9]{1,253}$/.test(text) && text !== '.' && !text.startsWith('..');
}
