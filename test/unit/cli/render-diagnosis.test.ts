import { expect, test } from 'vitest';
import { renderDiagnosis } from '../../../src/cli/render-diagnosis.ts';
import { terminalOf } from '../../../src/demo/terminal.ts';
import { type Finding, result, skipped } from '../../../src/doctor/finding.ts';

const terminal = (columns = 80, LANG = 'C.UTF-8') => ({
  ...terminalOf(process.stdout, { LANG, NO_COLOR: '1' }),
  columns,
  paint: (_how: string, text: string) => text,
});

const ERROR: Finding = {
  code: 'config-path-unset',
  severity: 'error',
  what: 'config.toml sets no config_path: containerd reads no hosts.toml, whatever stands in it',
  mend: 'write it, then restart containerd',
  docs: 'https://github.com/containerd/containerd/blob/main/docs/a/very/long/path/that/is/never/broken.md',
};

test('a line a check, then each finding with what is wrong, how to mend it, and where that is documented', () => {
  const checks = [
    result('runtime', 'containerd v2.3.4 answers at /run/containerd/containerd.sock'),
    result('config_path', '/etc/containerd/config.toml', [ERROR]),
    result('layers', 'containerd throws them away', [{ ...ERROR, severity: 'warning' }]),
    skipped('pull', 'config_path is to be mended first'),
  ];
  expect(renderDiagnosis('node-1', checks, terminal())).toMatchInlineSnapshot(`
    "windlass doctor: node-1

      ✔ runtime      containerd v2.3.4 answers at /run/containerd/containerd.sock
      ✘ config_path  /etc/containerd/config.toml
      ! layers       containerd throws them away
      - pull         config_path is to be mended first

    1. error: config_path
      wrong    config.toml sets no config_path: containerd reads no hosts.toml,
               whatever stands in it
      mend     write it, then restart containerd
      see      https://github.com/containerd/containerd/blob/main/docs/a/very/long/path/that/is/never/broken.md

    2. warning: layers
      wrong    config.toml sets no config_path: containerd reads no hosts.toml,
               whatever stands in it
      mend     write it, then restart containerd
      see      https://github.com/containerd/containerd/blob/main/docs/a/very/long/path/that/is/never/broken.md

    1 error and 1 warning. Mend the first error first: others may come of it."
  `);
});

test('nothing wrong, with a pull and without', () => {
  const lines = (...checks: Parameters<typeof renderDiagnosis>[1]) => renderDiagnosis('n', checks, terminal());
  expect(lines(result('pull', 'yes'))).toMatch(/Nothing is wrong: pulls go through the mirror\.$/);
  expect(lines(skipped('pull', 'not wanted'))).toMatch(/Nothing wrong was found\.$/);
});

test('no line but a URL is wider than the terminal, and no name moves the cursor', () => {
  const checks = [
    result('hosts.toml', 'seen '.repeat(60), [{ ...ERROR, what: 'what \u001b[2J'.repeat(60) }]),
    result('disk', 'seen', [ERROR]),
  ];
  for (const columns of [48, 80, 200]) {
    const text = renderDiagnosis('n\u0007', checks, terminal(columns));
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    const lines = text.split('\n').filter((line) => !line.includes('https://'));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns);
  }
});

test('a terminal without UTF-8 gets ASCII alone', () => {
  const checks = [result('disk', 'seen'), result('clock', 'seen', [ERROR])];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what ASCII is
  expect(renderDiagnosis('n', checks, terminal(80, 'C'))).toMatch(/^[\u0000-\u007f]*$/);
});
