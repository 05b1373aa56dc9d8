import { expect, it } from 'vitest';
import { holding, newBlob, readAll, soon, startClient, startServer } from './peer-fixture.ts';

const { signal } = soon;

it('carries calls both ways, with the caller named by its certificate', async () => {
  const { member, identity } = await startServer();
  const client = await startClient();
  const answer = (await client.call(member, 'claims', { a: [1, 2] }, soon)) as { from: string; body: unknown };
  expect(answer.body).toEqual({ a: [1, 2] });
  expect(answer.from).toMatch(/^12D3Koo/);
  expect(answer.from).not.toBe(identity.peerId);
});

it('carries a blob whole, and keeps the connection for the next', async () => {
  const blob = newBlob(5 * 1024 * 1024 + 123);
  const { parent, server } = await startServer({ offers: holding(blob) });
  const client = await startClient();
  for (let i = 0; i < 3; i += 1) {
    const stream = await client.open(parent, blob.digest, { offset: 0, signal });
    expect(stream.sizeBytes).toBe(blob.bytes.length);
    expect((await readAll(stream.events)).equals(blob.bytes)).toBe(true);
    expect(client.connections).toBe(1);
  }
  expect(client.downloads).toEqual([]);
  expect(server.uploads).toEqual([]);
});
