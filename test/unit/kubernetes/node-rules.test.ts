import { expect, test } from 'vitest';
import { labelSelectorText } from '../../../src/kubernetes/label-selector.ts';
import { mayRunOn, type NodeRules, targetOf } from '../../../src/kubernetes/node-rules.ts';

const node = { name: 'n1', labels: { os: 'linux', zone: 'a', cores: '8' } };
const required = (...nodeSelectorTerms: object[]): NodeRules =>
  ({
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
  }) as NodeRules;
const expression = (key: string, operator: string, ...values: string[]) => ({
  matchExpressions: [{ key, operator, values }],
});

test.each<[string, NodeRules, boolean]>([
  ['nothing', {}, true],
  ['its label', { nodeSelector: { os: 'linux' } }, true],
  ['another value', { nodeSelector: { os: 'windows' } }, false],
  ['one label of two', { nodeSelector: { os: 'linux', gpu: 'yes' } }, false],
  ['In', required(expression('zone', 'In', 'b', 'a')), true],
  ['In of others', required(expression('zone', 'In', 'b')), false],
  ['In of a label that it lacks', required(expression('gpu', 'In', 'b')), false],
  ['NotIn', required(expression('zone', 'NotIn', 'b')), true],
  ['NotIn of its own', required(expression('zone', 'NotIn', 'a')), false],
  ['NotIn of a label that it lacks', required(expression('gpu', 'NotIn', 'a')), true],
  ['Exists', required(expression('zone', 'Exists')), true],
  ['Exists of another', required(expression('gpu', 'Exists')), false],
  ['DoesNotExist', required(expression('gpu', 'DoesNotExist')), true],
  ['DoesNotExist of its own', required(expression('zone', 'DoesNotExist')), false],
  ['Gt', required(expression('cores', 'Gt', '7')), true],
  ['Gt of as many', required(expression('cores', 'Gt', '8')), false],
  ['Lt', required(expression('cores', 'Lt', '9')), true],
  ['Lt of a label that it lacks', required(expression('gpu', 'Lt', '9')), false],
  ['an operator that nobody knows', required(expression('zone', 'Like', 'a')), false],
  ['one term of two', required(expression('zone', 'In', 'b'), expression('zone', 'In', 'a')), true],
  [
    'one requirement of two',
    required({
      matchExpressions: [
        ...expression('zone', 'Exists').matchExpressions,
        ...expression('gpu', 'Exists').matchExpressions,
      ],
    }),
    false,
  ],
  ['its name', required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] }), true],
  ["another's name", required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }), false],
  ['an empty term', required({}), false],
  [
    'affinity, but not the label',
    { ...required(expression('zone', 'Exists')), nodeSelector: { os: 'windows' } },
    false,
  ],
])('a Pod that asks for %s', (_name, rules, may) => {
  expect(mayRunOn(rules, node)).toBe(may);
});

test("the node of a DaemonSet's Pod is known before it is scheduled", () => {
  expect(targetOf(required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n7'] }] }))).toBe('n7');
  expect(targetOf(required(expression('zone', 'Exists')))).toBeUndefined();
  expect(targetOf({})).toBeUndefined();
});

test('a selector is written as a query has it', () => {
  const matchExpressions = [
    { key: 'tier', operator: 'In', values: ['a', 'b'] },
    { key: 'zone', operator: 'NotIn', values: ['c'] },
    { key: 'new', operator: 'Exists' },
    { key: 'old', operator: 'DoesNotExist' },
  ];
  const text = 'app=windlass,part=cleanup,tier in (a,b),zone notin (c),new,!old';
  expect(labelSelectorText({ matchLabels: { app: 'windlass', part: 'cleanup' }, matchExpressions })).toBe(text);
  expect(labelSelectorText({})).toBe('');
});
