import { writeFile } from 'node:fs/promises';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MetMembers } from '../../../src/routing/met-members.ts';
import { Scratch } from '../../support/scratch.ts';

describe('the members that were met', () => {
  let scratch: Scratch;
  let met: MetMembers;
  const never = new AbortController().signal;

  beforeEach(async () => {
    scratch = await Scratch.create();
    met = new MetMembers({ storePath: scratch.path, logger: pino({ level: 'silent' }) });
  });
  afterEach(() => scratch.dispose());

  it('are asked after a restart, until one answers', async () => {
    await met.save(['10.0.0.1:5051', '10.0.0.2:5051', '10.0.0.3:5051', '10.0.0.4:5051', '10.0.0.5:5051']);
    const asked: string[] = [];
    const answered = await met.ask(async (address) => {
      asked.push(address);
      if (address !== '10.0.0.4:5051') throw new Error('refused');
    }, never);
    expect(answered).toBe(true);
    expect(asked).toContain('10.0.0.4:5051');
    expect(new Set(asked).size).toBe(asked.length);
  });

  it('that are all gone end the asking, as does the bound when they are silent', async () => {
    expect(await met.ask(async () => {}, never)).toBe(false); // nobody was met yet
    await met.save(['10.0.0.1:5051', '10.0.0.2:5051']);
    const refused = async () => {
      throw new Error('refused');
    };
    expect(await met.ask(refused, never)).toBe(false);
    const bound = new AbortController();
    const asking = met.ask(() => new Promise(() => {}), bound.signal);
    bound.abort();
    expect(await asking).toBe(false);
  });

  it('are no more than 64, and a file of nonsense is nobody', async () => {
    await met.save(Array.from({ length: 500 }, (_, index) => `10.0.0.${index}:5051`));
    const asked: string[] = [];
    await met.ask(async (address) => {
      asked.push(address);
      throw new Error('refused');
    }, never);
    expect(asked).toHaveLength(64);
    await writeFile(scratch.join('members.json'), '{"not": "a list"');
    expect(await met.ask(async () => {}, never)).toBe(false);
  });
});
