import { afterEach, expect } from 'vitest';
import { LocalMirror, type LocalMirrorOptions } from '../../support/local-mirror.ts';
import { ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { RawConnection } from './raw-connection.ts';

const closing: (() => unknown)[] = [];

/** A mirror of docker.io and ghcr.io, both of which are one scripted upstream. Stopped after the test. */
export async function startMirror(
  options: Partial<LocalMirrorOptions> = {},
): Promise<{ mirror: LocalMirror; upstream: ScriptedUpstream; connect(): Promise<RawConnection> }> {
  const upstream = await ScriptedUpstream.start();
  const endpoint = `http://${upstream.address}`;
  const mirror = await LocalMirror.start({
    registries: [
      { host: 'docker.io', endpoint },
      { host: 'ghcr.io', endpoint },
    ],
    ...options,
  });
  closing.push(
    () => mirror.stop(),
    () => upstream.stop(),
  );
  const connect = async () => {
    const connection = await RawConnection.open(mirror.address);
    closing.unshift(() => connection.close());
    return connection;
  };
  return { mirror, upstream, connect };
}

/** A gate that a scripted answer waits at. */
export function gate(): { readonly passed: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  closing.unshift(resolve);
  return { passed: promise, open: resolve };
}

const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(error));

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  expect(unhandled.splice(0)).toEqual([]);
});
