import { networkInterfaces } from 'node:os';

/**
 * Of this Pod, or, with hostNetwork, of this node. Loopback addresses are everybody's.
 * @param look another way to ask the system, for tests
 */
export function ownAddresses(look: typeof networkInterfaces = networkInterfaces): () => ReadonlySet<string> {
  let known: ReadonlySet<string> = new Set();
  return () => {
    try {
      const all = Object.values(look()).flatMap((addresses) => addresses ?? []);
      known = new Set(all.filter(({ internal }) => !internal).map(({ address }) => address));
    } catch {
      // It takes a descriptor, and there may be none left. They hardly ever change: those known last will do.
    }
    return known;
  };
}
