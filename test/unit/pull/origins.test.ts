import { expect, test } from 'vitest';
import { WindlassError } from '../../../src/errors.ts';
import { Origins } from '../../../src/pull/origins.ts';

test('made-up repositories without end are not each asked', () => {
  const origins = new Origins();
  for (let i = 0; i < 1000; i += 1) origins.add({ registry: 'docker.io', repository: `made/up${i}` });
  let asked = 0;
  for (let next = origins.current(); next !== undefined; next = origins.current()) {
    asked += 1;
    origins.fail(next, new WindlassError('NOT_FOUND', 'not there'));
  }
  expect(asked).toBe(16);
});
