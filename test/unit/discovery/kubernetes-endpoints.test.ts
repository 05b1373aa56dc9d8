import { describe, expect, test } from 'vitest';
import type { Candidate } from '../../../src/discovery/discovery.ts';
import { readSlice } from '../../../src/discovery/endpoint-slice.ts';
import { EndpointTable, TERMINATING_MS } from '../../../src/discovery/endpoint-table.ts';

interface Conditions {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
}

const SERVING = { ready: true, serving: true, terminating: false };
const DEAD = { ready: true, serving: false, terminating: false };
const LEAVING = { ready: true, serving: false, terminating: true };

const at = (address: string, conditions: Conditions | null = SERVING, more: object = {}) => ({
  addresses: [address],
  conditions,
  ...more,
});
const slice = (endpoints: unknown, { name = 's1', ports = [{ name: 'p2p', port: 5052 }] as unknown } = {}) => {
  const read = readSlice({ metadata: { name, resourceVersion: '1' }, addressType: 'IPv4', endpoints, ports });
  if (read === undefined) throw new Error('no slice');
  return read;
};

/** What is told, at a time. */
class Scene {
  readonly table: EndpointTable;
  constructor({ own = ['10.9.9.9'], port = 5052 as number | string } = {}) {
    this.table = new EndpointTable({ port, nodeName: 'n9', ownAddresses: () => new Set(own) });
  }
  set(endpoints: unknown, options: { readonly name?: string; readonly ports?: unknown } = {}): this {
    this.table.set(slice(endpoints, options));
    return this;
  }
  candidates(nowMs = 0): readonly Candidate[] {
    return this.table.candidates(nowMs).candidates;
  }
  addresses(nowMs = 0): string[] {
    return this.candidates(nowMs).map(({ address }) => address);
  }
}

describe('a slice', () => {
  test('is read with what Go leaves out, or writes as null', () => {
    expect(slice(null, { ports: null })).toMatchObject({ name: 's1', endpoints: [], ports: new Map() });
    expect(slice([{ addresses: ['10.0.0.1'] }, { addresses: null }, {}], { ports: [{ port: 5 }] })).toMatchObject({
      endpoints: [{ host: '10.0.0.1', serving: true, terminating: false }],
      ports: new Map([['', 5]]),
    });
  });

  test('that is none is none, and names are no addresses', () => {
    for (const value of [undefined, null, 'x', {}, { metadata: {} }, { metadata: { name: 'a' }, endpoints: 'x' }]) {
      expect(readSlice(value)).toBeUndefined();
    }
    expect(slice([at('agent.example')]).endpoints).toEqual([]);
  });

  test.each<[string, Conditions | null, boolean]>([
    ['serving counts', { ready: false, serving: true }, true],
    ['ready does not, where serving is told: so are the Pods of dead nodes', DEAD, false],
    ['without serving ready counts', { ready: false }, false],
    ['without serving ready counts', { ready: true, serving: null }, true],
    ['unknown is ready', { ready: null }, true],
    ['nothing known is ready', null, true],
  ])('%s: %j', (_name, conditions, serving) => {
    expect(slice([at('10.0.0.1', conditions)]).endpoints).toMatchObject([{ serving }]);
  });
});

describe('candidates', () => {
  test('are those that serve, with node and zone, of slices of both families', () => {
    const scene = new Scene().set([
      at('10.0.0.2', SERVING, { nodeName: 'n2', zone: 'a' }),
      at('10.0.0.1', DEAD, { nodeName: 'n1', zone: 'a' }),
    ]);
    scene.set([at('fd00::2', SERVING, { nodeName: 'n2', zone: 'a' })], { name: 's6' });
    expect(scene.candidates()).toEqual([
      { address: '10.0.0.2:5052', nodeName: 'n2', zone: 'a' },
      { address: '[fd00::2]:5052', nodeName: 'n2', zone: 'a' },
    ]);
  });

  test('of several slices are put together; a slice that is deleted takes its own along', () => {
    const scene = new Scene().set([at('10.0.0.1')]).set([at('10.0.0.2')], { name: 's2' });
    expect(scene.addresses()).toEqual(['10.0.0.1:5052', '10.0.0.2:5052']);
    scene.table.remove('s1');
    scene.table.remove('never-seen');
    expect(scene.addresses()).toEqual(['10.0.0.2:5052']);
    scene.table.replace([slice([at('10.0.0.3')])]);
    expect(scene.addresses()).toEqual(['10.0.0.3:5052']);
  });

  test('an endpoint in two slices while it is moved counts once, as the better of both', () => {
    const scene = new Scene().set([at('10.0.0.1', DEAD)]).set([at('10.0.0.1')], { name: 's2' });
    expect(scene.addresses()).toEqual(['10.0.0.1:5052']);
    scene.set([at('10.0.0.1')]).set([at('10.0.0.1', LEAVING)], { name: 's2' });
    expect(scene.table.candidates(0)).toMatchObject({ candidates: [{ address: '10.0.0.1:5052' }], untilMs: undefined });
    scene.table.remove('s2');
    expect(scene.addresses()).toEqual(['10.0.0.1:5052']);
  });

  test('take the port by its name, each slice its own, and those without it are none', () => {
    const scene = new Scene({ port: 'p2p' }).set([at('10.0.0.1')]);
    scene.set([at('10.0.0.2')], { name: 's2', ports: [{ name: 'p2p', port: 6052 }] });
    expect(scene.addresses()).toEqual(['10.0.0.1:5052', '10.0.0.2:6052']);
    expect(scene.table.lacksPort).toBe(false);
    const other = new Scene({ port: 'gossip' });
    expect(other.table.lacksPort).toBe(false);
    other.set([at('10.0.0.1')]);
    expect(other.addresses()).toEqual([]);
    expect(other.table.lacksPort).toBe(true);
  });

  test('of a dead node are none at once', () => {
    const scene = new Scene().set([at('10.0.0.1'), at('10.0.0.2')]);
    scene.addresses();
    scene.set([at('10.0.0.1', DEAD), at('10.0.0.2')]);
    expect(scene.addresses()).toEqual(['10.0.0.2:5052']);
  });
});

describe('one that terminates', () => {
  const leaving = () => {
    const scene = new Scene().set([at('10.0.0.1'), at('10.0.0.2')]);
    scene.addresses();
    return scene.set([at('10.0.0.1', LEAVING), at('10.0.0.2')]);
  };

  test('stays for 60 s, and no longer, though it may go on terminating', () => {
    const scene = leaving();
    expect(scene.table.candidates(1_000).untilMs).toBe(1_000 + TERMINATING_MS);
    expect(scene.addresses(60_999)).toHaveLength(2);
    expect(scene.table.candidates(61_000)).toMatchObject({ untilMs: undefined });
    expect(scene.addresses(61_000)).toEqual(['10.0.0.2:5052']);
    expect(scene.addresses(200_000)).toEqual(['10.0.0.2:5052']);
  });

  test('stays for the rest of them when its endpoint is gone before', () => {
    const scene = leaving();
    scene.addresses(1_000);
    scene.set([at('10.0.0.2')]);
    expect(scene.addresses(60_999)).toHaveLength(2);
    expect(scene.addresses(61_000)).toEqual(['10.0.0.2:5052']);
    // And the next time is a time of its own.
    scene.set([at('10.0.0.1'), at('10.0.0.2')]).addresses(70_000);
    scene.set([at('10.0.0.1', LEAVING), at('10.0.0.2')]).addresses(80_000);
    expect(scene.addresses(139_999)).toHaveLength(2);
    expect(scene.addresses(140_000)).toHaveLength(1);
  });

  test('is back when a new Pod serves at its address', () => {
    const scene = leaving();
    scene.addresses(1_000);
    scene.set([at('10.0.0.1', LEAVING), at('10.0.0.1'), at('10.0.0.2')]);
    expect(scene.table.candidates(30_000).untilMs).toBeUndefined();
    expect(scene.addresses(500_000)).toHaveLength(2);
  });

  test('and does not serve when it is first seen never was one', () => {
    const scene = new Scene().set([at('10.0.0.1', LEAVING), at('10.0.0.2', { ...LEAVING, serving: true })]);
    expect(scene.addresses()).toEqual(['10.0.0.2:5052']);
  });
});

describe("this agent's own endpoint", () => {
  test('is told by its address, and is a candidate whatever its condition', () => {
    const scene = new Scene({ own: ['10.0.0.1', 'fd00::1'] });
    scene.set([at('10.0.0.1', DEAD, { nodeName: 'n1', zone: 'a' }), at('10.0.0.2', SERVING, { nodeName: 'n9' })]);
    expect(scene.candidates()).toEqual([
      { address: '10.0.0.1:5052', nodeName: 'n1', zone: 'a', self: true },
      { address: '10.0.0.2:5052', nodeName: 'n9' },
    ]);
  });

  test('is told by the name of the node where no address fits', () => {
    const scene = new Scene().set([
      at('10.0.0.1', DEAD, { nodeName: 'n9', zone: 'b' }),
      at('10.0.0.2', SERVING, { nodeName: 'n1', zone: 'a' }),
    ]);
    expect(scene.candidates().filter(({ self }) => self)).toEqual([
      { address: '10.0.0.1:5052', nodeName: 'n9', zone: 'b', self: true },
    ]);
  });
});
