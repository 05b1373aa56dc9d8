import { totalmem } from 'node:os';
import { expect, test } from 'vitest';
import { memoryLimitBytes } from '../../../src/metrics/memory-limit.ts';

const GIB = 1024 ** 3;

test('the memory limit is that of the cgroup, where there is one', () => {
  expect(memoryLimitBytes(GIB, 4 * GIB)).toBe(GIB);
});

test.each([0, 2 ** 64, 9 * GIB])('without a limit (%s) it is what the machine has', (constrained) => {
  expect(memoryLimitBytes(constrained, 4 * GIB)).toBe(4 * GIB);
});

test('it is known here', () => {
  expect(memoryLimitBytes()).toBeGreaterThan(0);
  expect(memoryLimitBytes()).toBeLessThanOrEqual(totalmem());
});
