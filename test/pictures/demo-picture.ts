import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { run } from '../support/commands.ts';
import { terminalPage } from './terminal-page.ts';

const WINDLASS = fileURLToPath(new URL('../../src/windlass.js', import.meta.url));

/** What `npm run demo` prints, as a terminal shows it. @returns the picture's path. */
export async function demoPicture(browser: Browser, folder: string): Promise<string[]> {
  const env = { FORCE_COLOR: '1', NO_COLOR: undefined, LANG: 'C.UTF-8', LC_ALL: undefined };
  const { stdout } = await run(process.execPath, [WINDLASS, 'demo'], { env, timeoutMs: 600_000 });
  // What to do next is for the person at the terminal.
  const result = (stdout.split('\n  Next\n')[0] ?? '').trimEnd();
  const page = await browser.newPage({ viewport: { width: 860, height: 400 }, colorScheme: 'dark' });
  await page.setContent(terminalPage('npm run demo', result));
  const path = `${folder}demo.png`;
  await page.locator('main').screenshot({ path });
  await page.close();
  return [path];
}
