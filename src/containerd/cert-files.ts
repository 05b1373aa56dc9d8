/**
 * Without a hosts.toml containerd takes a registry's CAs and client certificates from the files beside it (`*.crt`;
 * `*.cert` with `*.key`); with one it no longer does. These are the lines that make a new hosts.toml say the same.
 */
export function certFileLines(names: readonly string[]): string[] {
  const sorted = [...names].sort();
  const authorities = sorted.filter((name) => name.endsWith('.crt'));
  const pairs = sorted
    .filter((name) => name.endsWith('.cert'))
    .map((name) => {
      const key = name.replace(/\.cert$/, '.key');
      return names.includes(key) ? [name, key] : name;
    });
  return [
    ...(authorities.length === 0 ? [] : [`ca = ${JSON.stringify(authorities)}`]),
    ...(pairs.length === 0 ? [] : [`client = ${JSON.stringify(pairs)}`]),
  ];
}
