import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Membership, PROOF_HEADER } from '../../src/peer/membership.ts';
import { tlsOptions } from '../../src/peer/tls-options.ts';
import { API_PATH, BLOBS_PATH, splitQuery } from '../../src/peer/wire.ts';
import { peerIdOfCertificate } from '../../src/routing/certificate.ts';
import type { ClusterSecrets } from '../../src/routing/cluster-secret.ts';
import type { Identity } from '../../src/routing/identity.ts';
import type { PeerId } from '../../src/routing/member.ts';
import type { CallPath } from '../../src/routing/peer-calls.ts';

/** A member asks something, and here is how to answer it: well, wrongly, or never. */
export interface EvilRequest {
  readonly from: PeerId;
  readonly response: ServerResponse;
  /** Without these headers nobody listens to the answer. */
  readonly proof: Readonly<Record<string, string>>;
}

export interface EvilAnswers {
  call(path: CallPath, body: unknown, request: EvilRequest): unknown;
  blob(digest: string, offset: number, request: EvilRequest): unknown;
}

/** A data plane that proves to be a member's, and then says whatever it likes, byte by byte. */
export class EvilServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(identity: Identity, secrets: ClusterSecrets, answers: EvilAnswers) {
    const membership = new Membership(identity.peerId, secrets);
    this.#server = createServer({ ...tlsOptions(identity), requestCert: true }, async (request, response) => {
      const from = peerIdOfCertificate((request.socket as TLSSocket).getPeerX509Certificate()) ?? '';
      const proof = { [PROOF_HEADER]: await membership.prove(from) };
      response.on('error', () => {});
      const { path = '', query } = splitQuery(request.url ?? '') ?? {};
      try {
        if (path.startsWith(BLOBS_PATH)) {
          const offset = Number(query?.get('offset') ?? 0);
          await answers.blob(path.slice(BLOBS_PATH.length), offset, { from, response, proof });
        } else if (request.method === 'POST' && path.startsWith(API_PATH)) {
          const body: unknown = JSON.parse(await textOf(request));
          await answers.call(path.slice(API_PATH.length) as CallPath, body, { from, response, proof });
        } else response.writeHead(204, proof).end();
      } catch {
        response.destroy();
      }
    });
    // An agent keeps connections for as long as this, or longer.
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', (socket: Socket) => this.#sockets.add(socket.on('error', () => {})));
    this.#server.on('tlsClientError', () => {});
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** As an honest agent would. */
export function answerJson({ response, proof }: EvilRequest, answer: unknown): void {
  answerText({ response, proof }, JSON.stringify(answer ?? null));
}

export function answerText({ response, proof }: Pick<EvilRequest, 'response' | 'proof'>, text: string): void {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  response.writeHead(200, { ...headers, ...proof }).end(text);
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
