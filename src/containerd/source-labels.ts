import { isRepository, type RepositoryName } from '../oci/reference.ts';

const PREFIX = 'containerd.io/distribution.source.';
/** A blob has few homes. */
const MAX_SOURCES = 16;

/**
 * The repositories that containerd fetched a content from, by its labels. `registry` is the host alone: containerd
 * leaves out the port.
 */
export function sourcesOf(labels: Readonly<Record<string, string>>): RepositoryName[] {
  const sources: RepositoryName[] = [];
  for (const [label, value] of Object.entries(labels)) {
    if (!label.startsWith(PREFIX)) continue;
    const registry = label.slice(PREFIX.length).toLowerCase();
    for (const repository of value.split(',')) {
      if (sources.length === MAX_SOURCES) return sources;
      if (registry !== '' && isRepository(repository)) sources.push({ registry, repository });
    }
  }
  return sources;
}
