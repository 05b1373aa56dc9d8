import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { PageFiles } from '../../../src/status/page-files.ts';

const ROOT = new URL('../../../', import.meta.url);
const FOLDER = fileURLToPath(new URL('src/status/page/', ROOT));
const files = new PageFiles();

async function text(path: string): Promise<string> {
  const file = await files.get(path);
  if (file === undefined) throw new Error(`no ${path}`);
  return file.bytes.toString();
}

test.each([
  ['index.html', 'text/html; charset=utf-8'],
  ['page.css', 'text/css; charset=utf-8'],
  ['main.js', 'text/javascript; charset=utf-8'],
  ['icon.svg', 'image/svg+xml'],
  ['uplot/LICENSE.txt', 'text/plain; charset=utf-8'],
])('%s is %s', async (path, type) => expect((await files.get(path))?.type).toBe(type));

test.each([
  '',
  '.',
  '../page-files.ts',
  'uplot',
  'uplot/../index.html',
  'uplot/uplot.d.ts',
  'nothing.js',
  '/etc/passwd',
])('%j is none of them', async (path) => expect(await files.get(path)).toBeUndefined());

test('everything that the page and its scripts refer to is there, and nothing is elsewhere', async () => {
  const html = await text('index.html');
  const own = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path);
  expect(own).toContain('/page/main.js');
  for (const path of own.filter((path) => path !== '/metrics' && path !== '/status')) {
    expect(path).toMatch(/^\/page\//);
    expect(await files.get(path.slice('/page/'.length)), path).toBeDefined();
  }
  const scripts = (await readdir(FOLDER)).filter((name) => name.endsWith('.js'));
  expect(scripts.length).toBeGreaterThan(5);
  for (const name of scripts) {
    for (const [, path = ''] of (await text(name)).matchAll(/^import .* from '([^']+)'/gm)) {
      expect(await files.get(path.replace('./', '')), `${path} of ${name}`).toBeDefined();
    }
  }
});

test('no script, style or handler is inline: the content policy would refuse it; and no text ever becomes HTML', async () => {
  expect(await text('index.html')).not.toMatch(/<script>|<style|\son\w+=|\sstyle=/);
  for (const name of (await readdir(FOLDER)).filter((name) => name.endsWith('.js'))) {
    expect(await text(name), name).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|DOMParser/,
    );
  }
});

test('uPlot is that of the lock file, byte for byte, with its licence', async () => {
  for (const [ours, theirs] of [
    ['uplot/uplot.js', 'dist/uPlot.esm.js'],
    ['uplot/uplot.css', 'dist/uPlot.min.css'],
    ['uplot/LICENSE.txt', 'LICENSE'],
  ] as const) {
    const installed = await readFile(new URL(`node_modules/uplot/${theirs}`, ROOT), 'utf8');
    expect((await text(ours)) === installed, `${ours} is ${theirs}`).toBe(true);
  }
});
