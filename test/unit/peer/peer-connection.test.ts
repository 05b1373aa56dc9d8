import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { PeerConnection } from '../../../src/peer/peer-connection.ts';

const forever = new AbortController().signal;

test.each([
  ['EMFILE', 'PEER_BUSY'],
  ['EADDRNOTAVAIL', 'PEER_BUSY'],
  ['ECONNRESET', 'PEER_GONE'],
  ['EHOSTUNREACH', 'PEER_GONE'],
])(
  'a connection that fails by %s is %s: who has nothing left to connect with calls nobody dead',
  async (code, expected) => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    try {
      const opening = PeerConnection.open({ host: '127.0.0.1', port: address.port }, undefined, forever, (socket) =>
        socket.destroy(Object.assign(new Error(`connect ${code}`), { code })),
      );
      await expect(opening).rejects.toMatchObject({ code: expected });
    } finally {
      server.close();
    }
  },
);
