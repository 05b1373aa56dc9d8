import { expect, test } from 'vitest';
import { ScriptedContainerd } from './containerd-fixture.ts';

test('ten thousand contents come page by page, and start waits for none of them', async () => {
  await using containerd = await ScriptedContainerd.create();
  for (let at = 0; at < 10_000; at += 100) {
    const page = Array.from({ length: 100 }, (_, index) => at + index);
    await Promise.all(page.map((number) => containerd.add(`content ${number}`, `team/app${number % 50}`)));
  }
  const content = containerd.content();
  const changes: number[] = [];
  content.subscribe(({ added }) => changes.push(added.length));
  content.start();
  expect([[...content.entries()].length, containerd.asked.lists]).toEqual([0, 0]);
  await content.listed;
  expect([...content.entries()]).toHaveLength(10_000);
  expect(Math.max(...changes)).toBe(100);
  expect(containerd.asked).toEqual({ lists: 1, infos: 0 });
  // Each list of sources is there once.
  const lists = new Set([...content.entries()].map(([, { sources }]) => sources));
  expect(lists.size).toBe(50);
});
