import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isOneGraph, startControl, startControls } from '../support/control-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { Scratch } from '../support/scratch.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

/** All in one process, each connection with TLS and proofs at both ends. */
const MANY = availableParallelism() < 4 ? 30 : 45;

test.each([
  [15, 2],
  [MANY, 2],
])(
  '%d agents that start at once, given %d addresses, become one graph of few connections',
  { timeout: 400_000 },
  async (count, seeds) => {
    const nodes = await startControls(scratch, count, seeds);
    let most = 0;
    const watch = () => {
      most = Math.max(most, ...nodes.map(({ control }) => control.connections));
      return isOneGraph(nodes) && nodes.every(({ control }) => control.peers.length >= 4);
    };
    await eventually(watch, {
      timeoutMs: 240_000,
      what: () => nodes.map(({ control }) => control.peers.length).join(),
    });
    expect(most).toBeLessThanOrEqual(30);
    // None of them was taken for a stranger, however busy it was.
    expect(await Promise.all(nodes.map((node) => node.refused('stranger')))).toEqual(nodes.map(() => 0));

    // News reaches all.
    const [first] = nodes;
    const others = nodes.slice(1);
    const heard = others.map(({ control }) => {
      const texts: string[] = [];
      control.news.subscribe((bytes) => texts.push(Buffer.from(bytes).toString()));
      return texts;
    });
    await eventually(
      () => {
        first?.control.news.publish(Buffer.from('hauled'));
        return heard.every((texts) => texts.length > 0);
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );

    // One that goes is noticed by all that were connected to it, and the rest stay one graph.
    const gone = nodes.at(-1);
    if (gone === undefined) throw new Error('no nodes');
    const rest = nodes.slice(0, -1);
    await gone.control.stop();
    await eventually(() => rest.every(({ control }) => !control.peers.includes(gone.identity.peerId)), {
      timeoutMs: 60_000,
    });
    expect(isOneGraph(rest)).toBe(true);
    expect(rest.some(({ disconnects }) => disconnects.includes(gone.identity.peerId))).toBe(true);
  },
);

test('who connects and says nothing is cut off, and counted', { timeout: 40_000 }, async () => {
  const member = await startControl(scratch);
  const socket = connect(Number(member.address.split(':')[1]), '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  await eventually(async () => (await member.refused('unfinished')) === 1);
  expect(await member.refused('stranger')).toBe(0);
});

test.each(['reset', 'stall'] as const)(
  'a peer whose network ends in a %s is noticed by both',
  { timeout: 60_000 },
  async (how) => {
    const [one, other] = [await startControl(scratch), await startControl(scratch)];
    const proxy = await TcpProxy.start(scratch, { port: Number(one.address.split(':')[1]) });
    await other.control.dial(`127.0.0.1:${proxy.port}`, { signal: AbortSignal.timeout(20_000) });
    await eventually(() => one.control.peers.length === 1 && other.control.peers.length === 1);
    if (how === 'reset') proxy.cutAll('reset');
    else proxy.stallAfter(0);
    await eventually(() => one.disconnects.length === 1 && other.disconnects.length === 1, { timeoutMs: 45_000 });
    expect(one.disconnects).toEqual([other.identity.peerId]);
    expect(other.disconnects).toEqual([one.identity.peerId]);
  },
);
