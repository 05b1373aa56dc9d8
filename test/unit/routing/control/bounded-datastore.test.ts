import { expect, test } from 'vitest';
import { BoundedDatastore } from '../../../../src/routing/control/bounded-datastore.ts';

type Key = Parameters<BoundedDatastore['put']>[0];

/** What the store needs of interface-datastore's class. */
const keyOf = (name: string): Key => ({ toString: () => name }) as Key;
const bytes = (text: string) => Buffer.from(text);

async function namesBelow(store: BoundedDatastore, prefix?: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of store.query(prefix === undefined ? {} : { prefix })) names.push(key.toString());
  return names.sort();
}

test('what was put is there until it is deleted, and put again takes its place', () => {
  const store = new BoundedDatastore();
  const key = keyOf('/peers/a');
  store.put(key, bytes('one'));
  store.put(keyOf('/peers/a'), bytes('two'));
  expect(store.get(key)).toEqual(bytes('two'));
  expect(store.size).toBe(1);
  store.delete(key);
  expect(store.has(key)).toBe(false);
  expect(() => store.get(key)).toThrow(expect.objectContaining({ name: 'NotFoundError' }));
});

test('a query of one key gives its providers, one of a folder all that is below it', async () => {
  const store = new BoundedDatastore();
  const names = ['/dht/provider/AAA/p1', '/dht/provider/AAA/p2', '/dht/provider/AAAB/p3', '/peers/p1'];
  for (const name of names) store.put(keyOf(name), bytes(name));
  expect(await namesBelow(store, '/dht/provider/AAA')).toEqual(names.slice(0, 2));
  expect(await namesBelow(store, '/dht/provider')).toEqual(names.slice(0, 3));
  expect(await namesBelow(store, '/peers')).toEqual(['/peers/p1']);
  expect(await namesBelow(store)).toEqual(names);
  store.delete(keyOf('/dht/provider/AAA/p1'));
  store.delete(keyOf('/dht/provider/AAA/p2'));
  expect(await namesBelow(store, '/dht/provider/AAA')).toEqual([]);
});

test('the oldest records give way to new ones, and so do the oldest notes of peers to others', async () => {
  const store = new BoundedDatastore({ maxRecords: 3, kept: '/peers/self' });
  for (const peer of ['self', 'a', 'b', 'c']) store.put(keyOf(`/peers/${peer}`), bytes('x'));
  store.get(keyOf('/peers/a'));
  for (const peer of ['d', 'e']) store.put(keyOf(`/peers/${peer}`), bytes('x'));
  for (const peer of ['1', '2', '3']) store.put(keyOf(`/dht/provider/K/${peer}`), bytes('x'));
  store.put(keyOf('/dht/provider/K/1'), bytes('again'));
  store.put(keyOf('/dht/provider/L/4'), bytes('x'));
  expect(await namesBelow(store, '/dht/provider')).toEqual([
    '/dht/provider/K/1',
    '/dht/provider/K/3',
    '/dht/provider/L/4',
  ]);
  expect(await namesBelow(store, '/peers')).toEqual(['/peers/a', '/peers/d', '/peers/e', '/peers/self']);
});

test('a batch is applied when it is committed', async () => {
  const store = new BoundedDatastore();
  store.put(keyOf('/peers/a'), bytes('x'));
  const batch = store.batch();
  batch.put(keyOf('/peers/b'), bytes('y'));
  batch.delete(keyOf('/peers/a'));
  expect(await namesBelow(store)).toEqual(['/peers/a']);
  await batch.commit();
  expect(await namesBelow(store)).toEqual(['/peers/b']);
});
