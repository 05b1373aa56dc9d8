import { expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { Holdings } from '../../../src/pull/holdings.ts';
import { ContentFixture } from './content-fixture.ts';
import { keep, startedStore } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const ONE = Buffer.from('one');
const TWO = Buffer.from('two');

test('what the store or containerd holds, each once', async () => {
  await using fixture = await ContentFixture.create();
  const store = await startedStore();
  await Promise.all([keep(store, ONE), fixture.add(ONE), fixture.add(TWO)]);
  expect(new Holdings(store, fixture.blobs).list().sort()).toEqual([digestOf(ONE), digestOf(TWO)].sort());
  expect(new Holdings(store, undefined).list()).toEqual([digestOf(ONE)]);
});

test('a blob is gone when it is in neither', async () => {
  await using fixture = await ContentFixture.create();
  const store = await startedStore();
  const gone: Digest[] = [];
  new Holdings(store, fixture.blobs).subscribe((change) => gone.push(...change.gone));

  await Promise.all([keep(store, ONE), fixture.add(ONE)]);
  await store.delete(digestOf(ONE));
  expect(gone).toEqual([]);
  fixture.forget(digestOf(ONE));
  expect(gone).toEqual([digestOf(ONE)]);

  await Promise.all([keep(store, TWO), fixture.add(TWO)]);
  fixture.forget(digestOf(TWO));
  expect(gone).toEqual([digestOf(ONE)]);
  await store.delete(digestOf(TWO));
  expect(gone).toEqual([digestOf(ONE), digestOf(TWO)]);
});

test('both tell what is new', async () => {
  await using fixture = await ContentFixture.create();
  const store = await startedStore();
  const held: Digest[] = [];
  const stop = new Holdings(store, fixture.blobs).subscribe((change) => held.push(...change.held));
  await keep(store, ONE);
  await fixture.add(TWO);
  stop();
  await fixture.add(Buffer.from('three'));
  expect(held).toEqual([digestOf(ONE), digestOf(TWO)]);
});
