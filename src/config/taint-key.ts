const NAME = '[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const FORM = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*/)?${NAME}$`);

/** As Kubernetes has them: `windlass.dev/agent-not-ready`. */
export function isTaintKey(text: string): boolean {
  return text.length <= 253 && FORM.test(text);
}

/** What somebody meant who wrote the whole taint, as kubectl takes it: `key=value:effect`; undefined where nothing is near. */
export function suggestTaintKey(text: string): string | undefined {
  const [key = ''] = text.split(/[=:]/, 1);
  return key !== text && isTaintKey(key) ? key : undefined;
}
