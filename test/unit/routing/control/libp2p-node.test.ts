import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { expect, test } from 'vitest';
import { BoundedDatastore } from '../../../../src/routing/control/bounded-datastore.ts';
import { nameOfNote, withoutLoopback } from '../../../../src/routing/control/libp2p-node.ts';

const kept = (...addresses: string[]) => withoutLoopback(addresses.map((text) => multiaddr(text))).map(String);

test('loopback is not told to others where there is anything else', () => {
  const outside = ['/ip4/10.0.0.3/tcp/5052', '/ip6/fd00::1/tcp/5052'];
  expect(kept('/ip4/127.0.0.1/tcp/5052', ...outside, '/ip6/::1/tcp/5052')).toEqual(outside);
});

test('an agent that listens at loopback alone tells that', () => {
  expect(kept('/ip4/127.0.0.1/tcp/5052')).toEqual(['/ip4/127.0.0.1/tcp/5052']);
});

test('what libp2p notes of this agent itself outlasts whatever others name', async () => {
  const privateKey = await generateKeyPair('Ed25519');
  const datastore = new BoundedDatastore({ maxRecords: 3, kept: nameOfNote(privateKey) });
  const { peerId, peerStore } = await createLibp2p({ privateKey, datastore, start: false });
  await peerStore.merge(peerId, { protocols: ['/of/this/agent'] });
  for (let named = 0; named < 10; named += 1) {
    const { publicKey } = await generateKeyPair('Ed25519');
    await peerStore.merge(peerIdFromPublicKey(publicKey), { multiaddrs: [multiaddr('/ip4/10.0.0.3/tcp/5052')] });
  }
  expect((await peerStore.get(peerId)).protocols).toContain('/of/this/agent');
  expect(datastore.size).toBe(1 + 3);
});
