import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { formatListenAddress, type ListenAddress, parseListenAddress } from '../config/listen-address.ts';
import { parseMultiaddr } from '../config/multiaddr.ts';
import { systemCode } from '../errors.ts';
import { peerIdOfCertificate } from '../routing/certificate.ts';

/** Another agent, as far as it is known. */
export interface DialTarget {
  readonly nodeName: string;
  /** Undefined: any agent will do. */
  readonly peerId?: string | undefined;
  /** `host:port`; undefined where it is not known. */
  readonly dataAddress?: string | undefined;
  /** Multiaddresses. */
  readonly p2pAddresses: readonly string[];
}

export interface DialOptions {
  readonly isTls: boolean;
  readonly answerMs: number;
}

/** @returns nothing where the agent that was meant answers */
export async function dialData(
  { nodeName, peerId, dataAddress }: DialTarget,
  { isTls, answerMs }: DialOptions,
): Promise<{ readonly why: string; readonly isStranger: boolean } | undefined> {
  if (dataAddress === undefined) return undefined;
  const target = parseListenAddress(dataAddress);
  const where = `${nodeName} (${dataAddress}`;
  if (target === undefined) return { why: `${where}: no address)`, isStranger: false };
  try {
    if (!isTls) {
      (await dial(target, { isTls, answerMs })).destroy();
      return undefined;
    }
    const socket = (await dial(target, { isTls, answerMs })) as TLSSocket;
    const found = peerIdOfCertificate(socket.getPeerX509Certificate());
    // In order: whoever breaks off is counted there as a stranger at the door.
    socket.end();
    return found !== undefined && found === (peerId ?? found)
      ? undefined
      : { why: `${where}: another answers, ${found ?? 'no agent'})`, isStranger: true };
  } catch (error) {
    return { why: `${where}: ${reasonOf(error)})`, isStranger: false };
  }
}

/** One of its addresses is enough. */
export async function dialP2p(
  { nodeName, p2pAddresses = [] }: DialTarget,
  answerMs: number,
): Promise<string | undefined> {
  const targets = p2pAddresses.flatMap((address) => parseMultiaddr(address) ?? []);
  const reasons = await Promise.all(
    targets.map(async (target) => {
      try {
        await greet(await dial(target, { isTls: false, answerMs }), answerMs);
        return undefined;
      } catch (error) {
        return `${formatListenAddress(target)}: ${reasonOf(error)}`;
      }
    }),
  );
  return reasons.length === 0 || reasons.includes(undefined) ? undefined : `${nodeName} (${reasons.join(', ')})`;
}

/** libp2p's first word, which the other side gives back before it wants to know who asks. */
const HELLO = Buffer.from('\x13/multistream/1.0.0\n');

async function greet(socket: Socket, answerMs: number): Promise<void> {
  const timer = setTimeout(() => socket.destroy(new Error(`silent for ${answerMs / 1000} s`)), answerMs);
  try {
    socket.write(HELLO);
    let heard = Buffer.alloc(0);
    for await (const part of socket as AsyncIterable<Buffer>) {
      heard = Buffer.concat([heard, part]);
      if (heard.length >= HELLO.length) break;
    }
    if (!heard.subarray(0, HELLO.length).equals(HELLO)) throw new Error('no libp2p answers');
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Resolves once it is connected; with TLS, once the other side has shown its certificate. */
function dial({ host, port }: ListenAddress, { isTls, answerMs }: DialOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = isTls
      ? connectTls({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' }, () => done())
      : connectPlain({ host, port }, () => done());
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${answerMs / 1000} s`)), answerMs);
    const done = () => {
      clearTimeout(timer);
      resolve(socket);
    };
    // It stays: an error after the connection is nobody's.
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

function reasonOf(error: unknown): string {
  return systemCode(error) ?? (error instanceof Error ? error.message : String(error));
}
