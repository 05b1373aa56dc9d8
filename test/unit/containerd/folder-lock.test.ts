import { expect, test } from 'vitest';
import { withFolderLock } from '../../../src/containerd/folder-lock.ts';

test('two at once come one after the other; of two folders neither waits', async () => {
  const said: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = withFolderLock('/a', 5_000, async () => {
    said.push('first in');
    await gate.promise;
    said.push('first out');
  });
  const second = withFolderLock('/a', 5_000, async () => said.push('second in'));
  await withFolderLock('/b', 5_000, async () => said.push('other'));
  gate.resolve();
  await Promise.all([first, second]);
  expect(said).toEqual(['first in', 'other', 'first out', 'second in']);
});

test('whoever waits for too long is told, and a fault in the work frees the folder', async () => {
  const failing = withFolderLock('/c', 5_000, async () => {
    await expect(withFolderLock('/c', 50, async () => undefined)).rejects.toMatchObject({ code: 'RECORD_UNUSABLE' });
    throw new Error('of the work');
  });
  await expect(failing).rejects.toThrow('of the work');
  expect(await withFolderLock('/c', 5_000, async () => 'free')).toBe('free');
});
