import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { Membership, PROOF_HEADER } from '../../../src/peer/membership.ts';
import { tlsOptions } from '../../../src/peer/tls-options.ts';
import { peerIdOfCertificate } from '../../../src/routing/certificate.ts';
import type { ClusterSecrets } from '../../../src/routing/cluster-secret.ts';
import type { Identity } from '../../../src/routing/identity.ts';
import { scratchOfTest } from './peer-fixture.ts';

async function listening(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (await scratchOfTest()).defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An agent that is a member, and answers whatever the test says. */
export async function startFakePeer(
  identity: Identity,
  secrets: ClusterSecrets,
  answer: (request: IncomingMessage, response: ServerResponse, proof: Record<string, string>) => unknown,
): Promise<string> {
  const membership = new Membership(identity.peerId, secrets);
  const server = createServer({ ...tlsOptions(identity), requestCert: true }, async (request, response) => {
    const peerId = peerIdOfCertificate((request.socket as TLSSocket).getPeerX509Certificate()) ?? '';
    await answer(request, response, { [PROOF_HEADER]: await membership.prove(peerId) });
  });
  return listening(server);
}

/** Says these bytes, after the handshake, to each request. */
export async function startRawPeer(
  identity: Identity,
  onRequest: (socket: TLSSocket, proof: string) => void,
  secrets: ClusterSecrets,
): Promise<string> {
  const membership = new Membership(identity.peerId, secrets);
  const server = createTlsServer({ ...tlsOptions(identity), requestCert: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', async () => {
      const peerId = peerIdOfCertificate(socket.getPeerX509Certificate()) ?? '';
      onRequest(socket, await membership.prove(peerId));
    });
  });
  return listening(server);
}

/** Accepts, and says nothing: not even TLS. */
export function startMutePeer(): Promise<string> {
  return listening(createTcpServer());
}
