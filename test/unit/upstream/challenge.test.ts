import { describe, expect, test } from 'vitest';
import { parseChallenges } from '../../../src/upstream/challenge.ts';

const read = (header: string | undefined) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('WWW-Authenticate', () => {
  test.each([
    [undefined, []],
    ['', []],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:library/redis:pull',
          },
        ],
      ],
    ],
    [
      'bearer REALM="r" , Scope="a:b:pull,push",error="insufficient_scope"',
      [['bearer', { realm: 'r', scope: 'a:b:pull,push', error: 'insufficient_scope' }]],
    ],
    [
      'Basic realm="a \\"quoted\\" \\\\ name", Bearer realm="r"',
      [
        ['basic', { realm: 'a "quoted" \\ name' }],
        ['bearer', { realm: 'r' }],
      ],
    ],
    ['Bearer realm=https://r/token,service=s', [['bearer', { realm: 'https://r/token', service: 's' }]]],
    [
      'Negotiate YII==, Basic realm="x"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    [
      'Negotiate, Basic',
      [
        ['negotiate', {}],
        ['basic', {}],
      ],
    ],
    ['Bearer realm="first",realm="second"', [['bearer', { realm: 'first' }]]],
    ['Bearer realm = "spaced" , service = "s"', [['bearer', { realm: 'spaced', service: 's' }]]],
    ['Bearer realm="never closed, Basic', [['bearer', { realm: 'never closed, Basic' }]]],
    ['Bearer realm="",service=', [['bearer', { realm: '', service: '' }]]],
  ])('%s', (header, expected) => {
    expect(read(header)).toEqual(expected);
  });

  test('a long or hostile header takes no long time', () => {
    const started = process.cpuUsage();
    for (const part of ['"\\', 'a=', ', ', '=', 'Bearer x=="', ' \t']) read(`Bearer realm="${part.repeat(100_000)}`);
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  });
});
