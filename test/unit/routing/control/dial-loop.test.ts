import { pino } from 'pino';
import { expect, test } from 'vitest';
import { DialLoop } from '../../../../src/routing/control/dial-loop.ts';
import type { DialNote } from '../../../../src/routing/control/door.ts';
import type { Timers } from '../../../../src/time/timers.ts';

/** A clock of its own: calls what is due, in order, and lets promises go on in between. */
class TestTimers implements Timers {
  #now = 0;
  #due: { atMs: number; call: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { atMs: this.#now + ms, call };
    this.#due.push(timer);
    return () => {
      this.#due = this.#due.filter((other) => other !== timer);
    };
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
      const [next] = this.#due.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#due = this.#due.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.atMs);
      next.call();
    }
    this.#now = end;
  }
}

class Scene {
  readonly timers = new TestTimers();
  readonly dials: { readonly address: string; readonly atMs: number }[] = [];
  readonly connected = new Set<string>();
  /** What a dial of an address leads to: a peer id, or an error. */
  answers = (address: string): string | Error => address;
  note: DialNote | undefined;
  others = 0;
  readonly loop = new DialLoop({
    self: 'self',
    dial: async ([address = '']) => {
      this.dials.push({ address, atMs: this.timers.now() });
      const answer = this.answers(address);
      if (answer instanceof Error) throw answer;
      this.connected.add(answer);
      return answer;
    },
    takeNote: () => this.note,
    isConnected: (peerId) => this.connected.has(peerId),
    counts: () => ({ outgoing: this.connected.size, inAll: this.connected.size + this.others }),
    timers: this.timers,
    logger: pino({ level: 'silent' }),
  });

  async runs(ms: number): Promise<readonly string[]> {
    const before = this.dials.length;
    await this.timers.advance(ms);
    return this.dials.slice(before).map(({ address }) => address);
  }
}

const members = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ peerId: `peer-${index}`, p2pAddresses: [`/m/${index}`] }));

test('of a thousand members it connects to twelve, drawn at random, and then keeps still', async () => {
  const scenes = [new Scene(), new Scene()];
  for (const scene of scenes) {
    scene.answers = (address) => address.split('/').at(-1) ?? '';
    scene.loop.setMembers(members(1_000));
    scene.loop.start();
    await scene.runs(15_000);
    expect(scene.connected.size).toBe(12);
    expect(await scene.runs(5_000)).toHaveLength(0);
  }
  const [one, other] = scenes.map((scene) => [...scene.connected].sort().join());
  expect(one).not.toBe(other);
});

test('now and then it visits one more, so that two satisfied halves find each other', async () => {
  const scene = new Scene();
  scene.answers = (address) => address.split('/').at(-1) ?? '';
  scene.loop.setMembers(members(100));
  scene.loop.start();
  await scene.runs(600_000);
  // Twelve that it wanted, and a visit each 22 to 69 s; never more than 28 in all.
  expect(scene.connected.size).toBeGreaterThanOrEqual(12 + 8);
  expect(scene.connected.size).toBeLessThanOrEqual(28);
});

test('with enough incoming connections it dials nobody', async () => {
  const scene = new Scene();
  scene.others = 28;
  scene.loop.setMembers(members(100));
  scene.loop.start();
  expect(await scene.runs(120_000)).toEqual([]);
});

test('what fails is tried for ever, and ever less often; alone at least each ten seconds', async () => {
  const scene = new Scene();
  scene.answers = () => new Error('refused');
  scene.loop.setSeeds(['/seed']);
  scene.loop.start();
  const early = await scene.runs(30_000);
  await scene.runs(3_600_000);
  const late = await scene.runs(60_000);
  expect(early.length).toBeGreaterThan(4);
  expect(late.length).toBeGreaterThan(5);
  scene.others = 1;
  await scene.runs(600_000);
  expect((await scene.runs(600_000)).length).toBeLessThan(25);
});

test('when the last connection is gone, nobody is waited for a minute', async () => {
  const scene = new Scene();
  scene.others = 1;
  scene.answers = () => new Error('refused');
  scene.loop.setSeeds(['/seed']);
  scene.loop.start();
  await scene.runs(3_600_000);
  scene.others = 0;
  scene.loop.parted();
  expect((await scene.runs(7_000)).length).toBeGreaterThan(0);
});

test('its own address, once found out, is left alone', async () => {
  const scene = new Scene();
  scene.answers = () => new Error('self');
  scene.note = { verdict: 'self', peerId: 'self' };
  scene.loop.setSeeds(['/me']);
  scene.loop.setMembers([{ peerId: 'self', p2pAddresses: ['/me-too'] }]);
  scene.loop.start();
  expect(await scene.runs(240_000)).toEqual(['/me']);
});

test('a seed that leads to a connected member is not dialled again until that one is gone', async () => {
  const scene = new Scene();
  scene.answers = (address) => (address === '/seed' ? 'peer-0' : (address.split('/').at(-1) ?? ''));
  scene.loop.setSeeds(['/seed']);
  scene.loop.start();
  expect(await scene.runs(30_000)).toEqual(['/seed']);
  scene.loop.setMembers(members(1));
  expect(await scene.runs(60_000)).toEqual([]);
  scene.connected.clear();
  scene.loop.parted();
  expect(await scene.runs(60_000)).toEqual(['/m/0/p2p/peer-0']);
});

test('seeds that discovery takes back are forgotten, new ones are dialled soon', async () => {
  const scene = new Scene();
  scene.answers = () => new Error('refused');
  scene.loop.setSeeds(['/old']);
  scene.loop.start();
  await scene.runs(10_000);
  scene.loop.setSeeds(['/new']);
  const dialled = await scene.runs(10_000);
  expect(new Set(dialled)).toEqual(new Set(['/new']));
});

test('after it stops it dials nobody', async () => {
  const scene = new Scene();
  scene.loop.setMembers(members(10));
  scene.loop.start();
  scene.loop.stop();
  scene.loop.setSeeds(['/seed']);
  expect(await scene.runs(60_000)).toEqual([]);
});
