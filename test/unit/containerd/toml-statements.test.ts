import fc from 'fast-check';
import { stringify } from 'smol-toml';
import { expect, test } from 'vitest';
import { tomlStatements } from '../../../src/containerd/toml-statements.ts';

test('every byte is in one statement, whatever the text is', () => {
  const pieces = fc.constantFrom(
    '"',
    "'",
    '"""',
    '[',
    ']',
    '{',
    '}',
    '#',
    '\n',
    '\r\n',
    '\\',
    'a',
    ' = ',
    '\t',
    '\uFEFF',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const text = parts.join('');
      const statements = tomlStatements(text);
      expect(statements.map(({ start, end }) => text.slice(start, end)).join('')).toBe(text);
    }),
  );
});

test('values over several lines are one pair, and what is in them is neither header nor comment', () => {
  const values = fc.oneof(fc.string(), fc.constantFrom('[a]', '# b', '"""\n[c]', "'''", 'x\\'));
  fc.assert(
    fc.property(fc.array(values, { maxLength: 6 }), values, (list, value) => {
      // As people write them, which stringify does not.
      const lines = list.map((one) => `  ${JSON.stringify(one)}, # [no]`);
      const text = `list = [\n${lines.join('\n')}\n]\nlong = '''\n[no]\n# no\n'''\n${stringify({ value }).trim()}\n[yes] # '''\n`;
      expect(tomlStatements(text).map(({ kind }) => kind)).toEqual(['pair', 'pair', 'pair', 'header']);
    }),
  );
});

test('a string ends with its last quotes', () => {
  const text = 'a = """x""""" # [\nb = \'\'\'y\'\'\'\'\n[c]\n';
  expect(tomlStatements(text).map(({ kind }) => kind)).toEqual(['pair', 'pair', 'header']);
});
