import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { scratchOfTest } from './peer-fixture.ts';

const asItIs = (text: string) => text;

/** Stands between a client and a server, keeps what the client says, and may change what either says. */
export async function startRecorder(
  to: string,
  changeRequest: (text: string) => string = asItIs,
  changeAnswer: (text: string) => string = asItIs,
): Promise<{ readonly address: string; said(): string }> {
  const sockets: Socket[] = [];
  let said = '';
  const server = createServer((client) => {
    const [host = '', port] = to.split(':');
    const upstream = connect({ host, port: Number(port) });
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    client.on('data', (bytes: Buffer) => {
      said += bytes.toString('latin1');
      upstream.write(changeRequest(bytes.toString('latin1')), 'latin1');
    });
    upstream.on('data', (bytes: Buffer) => client.write(changeAnswer(bytes.toString('latin1')), 'latin1'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (await scratchOfTest()).defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, said: () => said };
}
