import { expect, test } from 'vitest';
import { statusLabel } from '../../../src/metrics/status-label.ts';

test.each([
  [200, '200'],
  [429, '429'],
  [299, '2xx'],
  [599, '5xx'],
  [999, '9xx'],
])('status %i is counted as %s', (status, label) => {
  expect(statusLabel(status)).toBe(label);
});
