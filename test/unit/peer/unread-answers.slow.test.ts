import { connect } from 'node:tls';
import { expect, it } from 'vitest';
import { Membership, PROOF_HEADER } from '../../../src/peer/membership.ts';
import { tlsOptions } from '../../../src/peer/tls-options.ts';
import { eventually } from '../../support/eventually.ts';
import { newIdentity, SECRET, scratchOfTest, secretsOf, soon, startClient, startServer } from './peer-fixture.ts';

it('a member that takes no answers fills no memory, and others are answered when it is gone', async () => {
  const answer = 'x'.repeat(7 * 1024 * 1024);
  let asked = 0;
  const { server, member, identity, metrics } = await startServer({
    handlers: {
      roster: async (_, body) => {
        if (body === 1) return 1;
        asked += 1;
        return answer;
      },
    },
  });
  const liar = await newIdentity();
  const proof = await new Membership(liar.peerId, await secretsOf(SECRET)).prove(identity.peerId);
  const [host = '', port] = server.address.split(':');
  const sockets = Array.from({ length: 30 }, () => {
    const socket = connect({ host, port: Number(port), ...tlsOptions(liar) });
    socket.on('error', () => {});
    socket.write(
      `POST /windlass/v1/roster HTTP/1.1\r\nhost: x\r\n${PROOF_HEADER}: ${proof}\r\ncontent-length: 1\r\n\r\n0`,
    );
    // It never reads.
    return socket;
  });
  (await scratchOfTest()).defer(() => {
    for (const socket of sockets) socket.destroy();
  });
  await eventually(() => asked === 30);
  await eventually(async () => {
    const { values } = await metrics.peerRefused.get();
    return (values.find(({ labels }) => labels.plane === 'data' && labels.reason === 'busy')?.value ?? 0) > 0;
  });
  for (const socket of sockets) socket.destroy();
  const client = await startClient();
  await eventually(() =>
    client.call(member, 'roster', 0, soon).then(
      () => true,
      () => false,
    ),
  );
  expect(await client.call(member, 'roster', 1, soon)).toBe(1);
});
