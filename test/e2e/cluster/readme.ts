import { readFileSync } from 'node:fs';

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

/** The commands of a section of the README, block by block: what stands in ```sh``` is run as it is written. */
export function commandsOf(heading: string): string[] {
  const [, section] = README.split(`\n${heading}\n`);
  if (section === undefined) throw new Error(`the README has no section ${heading}`);
  const [own = ''] = section.split(/^#{2,3} /m);
  const blocks = [...own.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);
  if (blocks.length === 0) throw new Error(`no commands in the README's section ${heading}`);
  return blocks;
}

/** The commands after a paragraph that begins so. */
export function commandsAfter(paragraph: string): string {
  const [, after] = README.split(`\n${paragraph}`);
  const block = /^```sh\n([\s\S]*?)^```$/m.exec(after ?? '')?.[1];
  if (block === undefined) throw new Error(`the README has no commands after "${paragraph}"`);
  return block;
}
