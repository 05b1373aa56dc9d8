import { readFileSync } from 'node:fs';

/** Of package.json, which stands beside src/ in a checkout as beside dist/ in the package. */
export function readVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof content === 'object' && content !== null && 'version' in content ? String(content.version) : 'unknown';
}
