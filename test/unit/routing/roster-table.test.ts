import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WIRE_VERSION } from '../../../src/routing/member.ts';
import { type MemberEntry, signMember } from '../../../src/routing/member-entry.ts';
import { MAX_MEMBERS } from '../../../src/routing/roster-messages.ts';
import { RosterTable } from '../../../src/routing/roster-table.ts';
import { describeAgent, SimulatedClock, simulatedPeerId, simulatedSign } from './roster-simulation.ts';

function entryOf(number: number, incarnation: number, sequence: number, leaving = false): MemberEntry {
  const member = { ...describeAgent(number, incarnation), sequence, wireVersion: WIRE_VERSION, leaving };
  return signMember(member, simulatedSign(member.peerId));
}

const step = record({
  kind: constantFrom('take', 'leave', 'die'),
  number: integer({ min: 2, max: 6 }),
  incarnation: integer({ min: 1, max: 3 }),
  sequence: integer({ min: 0, max: 3 }),
});

describe('a table of members', () => {
  test('has a checksum that says who is live with which entry, whatever came before', () => {
    assert(
      property(array(step, { maxLength: 40 }), (steps) => {
        const table = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
        for (const { kind, number, incarnation, sequence } of steps) {
          if (kind === 'die') table.die(simulatedPeerId(number), { incarnation, sequence });
          else table.take(entryOf(number, incarnation, sequence, kind === 'leave'), true);
          const fresh = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
          for (const member of table.members()) {
            fresh.take(entryOf(Number(member.nodeName.slice(5)), member.incarnation, member.sequence), true);
          }
          expect(table.checksum()).toBe(fresh.checksum());
        }
      }),
    );
  });

  test('and another one as soon as an entry is another', () => {
    const table = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
    const checksums = [table.checksum()];
    for (const entry of [entryOf(2, 1, 0), entryOf(2, 1, 1), entryOf(2, 2, 0), entryOf(1, 1, 1)]) {
      table.take(entry, true);
      checksums.push(table.checksum());
    }
    expect(new Set(checksums).size).toBe(checksums.length);
  });

  test('remembers for an hour who went, and how, unless it came back', async () => {
    const clock = new SimulatedClock();
    const table = new RosterTable(entryOf(1, 1, 0), clock);
    for (const number of [2, 3, 4]) table.take(entryOf(number, 1, 0), true);
    table.take(entryOf(2, 1, 1, true), true);
    table.die(simulatedPeerId(3), { incarnation: 1, sequence: 0 });
    const gone = () => table.gone().map(({ entry, state }) => [entry.member.nodeName, state]);
    expect(gone()).toEqual([
      [describeAgent(2, 1).nodeName, 'left'],
      [describeAgent(3, 1).nodeName, 'dead'],
    ]);
    table.take(entryOf(3, 2, 0), true);
    expect(gone()).toEqual([[describeAgent(2, 1).nodeName, 'left']]);
    await clock.run(3_600_001);
    expect(gone()).toEqual([]);
  });

  test('remembers the leaving of one it never met: an older entry that comes after it makes no member', () => {
    const table = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
    const nobody = { joined: [], left: [] };
    expect(table.take(entryOf(2, 1, 1, true), false)).toEqual(nobody);
    for (const firstHand of [false, true]) expect(table.take(entryOf(2, 1, 0), firstHand)).toEqual(nobody);
    expect(table.members()).toHaveLength(1);
    expect(table.take(entryOf(2, 2, 0), false).joined).toEqual([entryOf(2, 2, 0).member]);
    expect(table.gone()).toEqual([]);
  });

  test('and no more of them than members', () => {
    const table = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
    for (let number = 2; number < MAX_MEMBERS + 10; number += 1) table.take(entryOf(number, 1, 1, true), false);
    expect(table.gone()).toHaveLength(MAX_MEMBERS);
    // One that was a member has its place all the same.
    const last = MAX_MEMBERS + 20;
    table.take(entryOf(last, 1, 0), true);
    table.take(entryOf(last, 1, 1, true), true);
    expect(table.gone()).toHaveLength(MAX_MEMBERS);
    expect(table.find(simulatedPeerId(last))?.state).toBe('left');
  });

  test('tells each change once: what joined is live, what left is not', () => {
    assert(
      property(array(step, { maxLength: 40 }), (steps) => {
        const table = new RosterTable(entryOf(1, 1, 0), new SimulatedClock());
        const live = new Map<string, number>([[simulatedPeerId(1), 1]]);
        for (const { kind, number, incarnation, sequence } of steps) {
          const change =
            kind === 'die'
              ? table.die(simulatedPeerId(number), { incarnation, sequence })
              : table.take(entryOf(number, incarnation, sequence, kind === 'leave'), true);
          for (const { member } of change.left) {
            expect(live.get(member.peerId)).toBe(member.incarnation);
            live.delete(member.peerId);
          }
          for (const { peerId, incarnation } of change.joined) {
            expect(live.has(peerId)).toBe(false);
            live.set(peerId, incarnation);
          }
          const members = new Map(table.members().map((member) => [member.peerId, member.incarnation]));
          expect(members).toEqual(live);
          expect(
            table
              .closest('blob:x', 10)
              .map(({ peerId }) => peerId)
              .sort(),
          ).toEqual([...live.keys()].sort());
        }
      }),
    );
  });
});
