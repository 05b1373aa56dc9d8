import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { startChromium } from '../support/chromium.ts';
import { run, which } from '../support/commands.ts';
import { Scratch } from '../support/scratch.ts';
import { demoPicture } from './demo-picture.ts';
import { statusPictures } from './status-pictures.ts';

/**
 * Makes the pictures that the README shows, of what really runs here: `npm run pictures`, or one kind of them alone,
 * `npm run pictures -- status` or `demo`. Takes some five minutes, since the page's last hour is to show something; needs
 * Debian's Chromium (and pngquant, for a third of the bytes), and a machine with nothing else to do, or the demo says that something did not hold.
 */
const FOLDER = fileURLToPath(new URL('../../.github/images/', import.meta.url));

await mkdir(FOLDER, { recursive: true });
await using scratch = await Scratch.create();
const browser = await startChromium(scratch);
const wanted = process.argv[2];
const pictures = [
  ...(wanted === 'demo' ? [] : await statusPictures(browser, FOLDER, scratch)),
  ...(wanted === 'status' ? [] : await demoPicture(browser, FOLDER)),
];
if (which('pngquant') !== undefined) {
  await run('pngquant', ['--force', '--strip', '--ext', '.png', ...pictures]);
}
