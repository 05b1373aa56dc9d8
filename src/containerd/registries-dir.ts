import { dirname, join } from 'node:path';
import type { WantedHosts } from './certs-dir.ts';
import type { MirroredRegistry } from './host-folders.ts';
import { namesIn, textOf } from './if-there.ts';
import { holdsMirrors, registriesConf } from './registries-conf.ts';

const NAME = '50-windlass.conf';

/** The drop-in for CRI-O and podman. @param root registries.conf.d, by `realFolder` @param address `127.0.0.1:5050` */
export async function wantedRegistries(
  root: string,
  address: string,
  registries: readonly MirroredRegistry[],
): Promise<WantedHosts> {
  const dropIns = ((await namesIn(root)) ?? []).filter((name) => name.endsWith('.conf') && name !== NAME);
  const others = [join(dirname(root), 'registries.conf'), ...dropIns.map((name) => join(root, name))];
  const hosts = registries.map(({ host }) => host);
  const texts = await Promise.all(others.map(textOf));
  const { text, foregone } = registriesConf(
    hosts,
    address,
    texts.flatMap((one) => one ?? []),
  );
  const file = {
    path: join(root, NAME),
    content: (prior: Uint8Array | undefined) =>
      prior === undefined
        ? ({ kind: 'bytes', bytes: Buffer.from(text ?? '') } as const)
        : ({ kind: 'refused', why: 'there is a file of that name that windlass configure did not write' } as const),
    holdsOurs: (bytes: Uint8Array) => holdsMirrors(Buffer.from(bytes).toString(), address),
  };
  return {
    files: text === undefined ? [] : [file],
    foregone,
  };
}
