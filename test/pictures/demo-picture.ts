import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { run } from '../support/commands.ts';
import { terminalPage } from './terminal-page.ts';

const WINDLASS = fileURLToPath(new URL('../../src/windlass.js', import.meta.url));

/** What `npm run demo` prints, as a terminal shows it. */
export async function demoPicture(browser: Browser, folder: string): Promise<void> {
  const env = { FORCE_COLOR: '1', NO_COLOR: undefined, LANG: 'C.UTF-8', LC_ALL: undefined };
  const { stdout } = await run(process.execPath, [WINDLASS, 'demo'], { env, timeoutMs: 600_000 });
  const page = await browser.newPage({ viewport: { width: 860, height: 400 }, colorScheme: 'dark' });
  await page.setContent(terminalPage('npm run demo', stdout.trimEnd()));
  await page.locator('main').screenshot({ path: `${folder}demo.png` });
  await page.close();
}
