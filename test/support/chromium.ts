import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { which } from './commands.ts';
import type { Missing } from './requires.ts';
import type { Scratch } from './scratch.ts';

const CHROMIUM = which('chromium');

export const chromiumMissing: Missing = CHROMIUM === undefined ? 'chromium is not installed' : undefined;

/** Debian's Chromium, without a window. */
export async function startChromium(scratch: Scratch): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error('chromium is not installed');
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // Root has no sandbox there; the pages are our own.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-proxy-server'],
    timeout: 120_000,
  });
  scratch.defer(() => browser.close());
  return browser;
}

export interface Watched {
  readonly page: Page;
  /** What the page complained of in its console, errors and refusals of the content policy included. */
  readonly faults: string[];
  /** Addresses that were asked for. */
  readonly asked: string[];
}

/** A page in a profile of its own, and what went wrong in it. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const [faults, asked]: [string[], string[]] = [[], []];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(url, { timeout: 60_000 });
  return { page, faults, asked };
}
