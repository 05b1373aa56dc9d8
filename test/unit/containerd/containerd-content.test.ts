import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ContainerdContent } from '../../../src/containerd/containerd-content.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { eventually } from '../../support/eventually.ts';
import { ScriptedContainerd } from './containerd-fixture.ts';

function digestsOf(content: ContainerdContent): Digest[] {
  return [...content.entries()].map(([digest]) => digest).sort();
}

/** What listeners were told, added up. */
function toldBy(content: ContainerdContent): Set<Digest> {
  const told = new Set<Digest>();
  content.subscribe(({ added, removed }) => {
    for (const digest of added) told.add(digest);
    for (const digest of removed) told.delete(digest);
  });
  return told;
}

/** Between its tries, in ms. */
function waitsOf({ logs }: ScriptedContainerd): number[] {
  return logs.flatMap(({ retryMs }) => retryMs ?? []);
}

test('knows what came from a registry, with its size and source; not what was built here, or is another namespace’s', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  await containerd.add('built here', null);
  const foreign = await containerd.add('of moby');
  containerd.infos.delete(foreign);
  const content = containerd.content();
  const told = toldBy(content);
  content.start();
  await content.listed;

  expect(digestsOf(content)).toEqual([one]);
  expect([...told]).toEqual([one]);
  expect(content.get(one)).toEqual({
    sizeBytes: 3,
    createdMs: 1_700_000_000_000,
    sources: [{ registry: 'docker.io', repository: 'library/redis' }],
  });
});

test('what is being fetched is not looked at', async () => {
  await using containerd = await ScriptedContainerd.create();
  await writeFile(join(containerd.folder, 'ingest', 'data'), 'half');
  await writeFile(join(containerd.folder, 'blobs', 'sha256', 'not-a-digest'), 'x');
  const content = containerd.content();
  content.start();
  await content.listed;
  expect([digestsOf(content), containerd.asked.infos]).toEqual([[], 0]);
});

test('an event makes it look: new contents are found, by a question each', async () => {
  await using containerd = await ScriptedContainerd.create();
  await containerd.add('one');
  const content = containerd.content();
  content.start();
  await content.listed;
  const two = await containerd.add('two');
  containerd.event('/content/create');
  await eventually(() => content.get(two) !== undefined);
  expect(containerd.asked).toEqual({ lists: 1, infos: 1 });
});

test('labels that come after the content are found', async () => {
  await using containerd = await ScriptedContainerd.create();
  const content = containerd.content();
  content.start();
  await content.listed;
  const late = await containerd.add('late', null);
  containerd.event('/content/create');
  await eventually(() => containerd.asked.infos > 0);
  expect(content.get(late)).toBeUndefined();
  containerd.label(late, 4, 'library/redis');
  containerd.event();
  await eventually(() => content.get(late) !== undefined);
});

test('a content that never gets a label is not asked about for ever', async () => {
  await using containerd = await ScriptedContainerd.create();
  const content = containerd.content({ lookEveryMs: 1 });
  content.start();
  await content.listed;
  await containerd.add('built here', null);
  for (let round = 0; round < 20; round += 1) {
    containerd.event();
    const marker = await containerd.add(`marker ${round}`);
    await eventually(() => content.get(marker) !== undefined);
  }
  expect(containerd.asked.infos).toBeLessThanOrEqual(20 + 4);
});

test('garbage that is collected without a word is noticed by looking', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const content = containerd.content({ lookEveryMs: 10 });
  const told = toldBy(content);
  content.start();
  await content.listed;
  await containerd.collect(one);
  await eventually(() => content.get(one) === undefined);
  expect([...told]).toEqual([]);
});

test('containerd goes and comes back: what was known stays, and what was missed is listed', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const two = await containerd.add('two');
  const content = containerd.content();
  const told = toldBy(content);
  content.start();
  await content.listed;
  containerd.stop();
  await eventually(() => !content.connected);
  expect(digestsOf(content)).toEqual([one, two].sort());

  await containerd.collect(one);
  const three = await containerd.add('three');
  containerd.start();
  await eventually(() => content.connected);
  expect(digestsOf(content)).toEqual([two, three].sort());
  expect([...told].sort()).toEqual([two, three].sort());
});

test('what a list no longer names is forgotten, though its file is there: another namespace has it', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const two = await containerd.add('two');
  const content = containerd.content();
  const told = toldBy(content);
  content.start();
  await content.listed;
  containerd.stop();
  await eventually(() => !content.connected);
  containerd.infos.delete(one);
  containerd.start();
  await eventually(() => content.connected);
  expect([digestsOf(content), [...told]]).toEqual([[two], [two]]);
});

test('a socket that is not there is told of once, and taken up when it comes', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  await rm(containerd.socketPath);
  const content = containerd.content();
  content.start();
  const warnings = () => containerd.logs.filter(({ level }) => level === 40);
  await eventually(() => containerd.logs.length > 3);
  expect(warnings()).toHaveLength(1);
  expect(waitsOf(containerd).slice(0, 4)).toEqual([5, 10, 20, 20]);
  expect(containerd.asked).toEqual({ lists: 0, infos: 0 });

  await writeFile(containerd.socketPath, '');
  await eventually(() => content.get(one) !== undefined);
  expect(warnings()).toHaveLength(1);
});

test('so is a content directory that is not mounted', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const blobs = join(containerd.folder, 'blobs');
  await rename(blobs, `${blobs}.away`);
  const content = containerd.content();
  const told = toldBy(content);
  content.start();
  await eventually(() => content.connected);
  expect([digestsOf(content), [...told]]).toEqual([[], []]);
  await rename(`${blobs}.away`, blobs);
  containerd.event();
  await eventually(() => content.get(one) !== undefined);
});

test('without a content directory, or with one that cannot be read, nothing is listed until it can', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const blobs = join(containerd.folder, 'blobs', 'sha256');
  await rename(blobs, `${blobs}.away`);
  await writeFile(blobs, 'no folder');
  const content = containerd.content();
  const missing = containerd.content({ contentDir: join(containerd.folder, 'missing') });
  content.start();
  missing.start();
  await eventually(() => containerd.logs.length > 6);
  expect([content.connected, missing.connected, containerd.asked.lists]).toEqual([false, false, 0]);
  await rm(blobs);
  await rename(`${blobs}.away`, blobs);
  await eventually(() => content.get(one) !== undefined);
  expect(missing.connected).toBe(false);
});

test('nothing is told before its file is there', async () => {
  await using containerd = await ScriptedContainerd.create();
  const one = await containerd.add('one');
  const late = await containerd.add('late');
  const path = join(containerd.folder, 'blobs', 'sha256', late.slice('sha256:'.length));
  await rename(path, join(containerd.folder, 'late'));
  const content = containerd.content();
  const told: Digest[] = [];
  content.subscribe(({ added }) => told.push(...added));
  content.start();
  await eventually(() => content.connected);
  expect(told).toEqual([one]);
  await rename(join(containerd.folder, 'late'), path);
  containerd.event();
  await eventually(() => content.get(late) !== undefined);
});

test('a connection that ends as soon as all is listed is told of once, and tried ever less often', async () => {
  await using containerd = await ScriptedContainerd.create();
  await containerd.add('one');
  containerd.hangUpAfterListing = true;
  // However loaded the machine is, a session is over sooner than that: else it would count as one that lasted.
  const content = containerd.content({ retryMs: [10, 20_000] });
  content.start();
  await eventually(() => containerd.asked.lists > 4);
  expect(containerd.logs.filter(({ level }) => level === 40)).toHaveLength(1);
  expect(waitsOf(containerd).slice(0, 4)).toEqual([10, 20, 40, 80]);
});

test('stop ends it, whatever is under way', async () => {
  await using containerd = await ScriptedContainerd.create();
  containerd.stop();
  const content = containerd.content();
  content.start();
  await content.stop();
  await content.listed;
  expect(content.connected).toBe(false);
});
