// biome-ignore lint/style/noRestrictedImports: no room; imported, so that the bundle carries it
import packageJson from '../../package.json' with { type: 'json' };

export function readVersion(): string {
  return packageJson.version;
}
