import { describe, expect, test } from 'vitest';
import { type Member, WIRE_VERSION } from '../../../src/routing/member.ts';
import { MemoryRoster } from '../../../src/routing/memory-roster.ts';
import type { RosterChange } from '../../../src/routing/roster.ts';
import { describeAgent, SimulatedClock } from './roster-simulation.ts';

const member = (number: number, change: Partial<Member> = {}): Member => ({
  ...describeAgent(number),
  sequence: 0,
  wireVersion: WIRE_VERSION,
  leaving: false,
  ...change,
});

describe('a roster that is told its members', () => {
  test('tells who came, who went, and who came back as another start', async () => {
    const clock = new SimulatedClock();
    const roster = new MemoryRoster(member(1), [member(2), member(3)], { timers: clock });
    const changes: RosterChange[] = [];
    roster.subscribe((change) => changes.push(change));
    await clock.run(100);
    roster.set([member(2, { incarnation: 2 }), member(4)]);
    expect(changes).toEqual([
      {
        joined: [member(2, { incarnation: 2 }), member(4)],
        left: [
          { member: member(2), leaving: false },
          { member: member(3), leaving: false },
        ],
      },
    ]);
    expect(roster.members()).toHaveLength(3);
    expect(roster.changedAtMs).toBe(100);
    expect(roster.isLive(member(3).peerId)).toBe(false);
    expect(roster.get(member(3).peerId)).toEqual(member(3));
    roster.set([member(2, { incarnation: 2 }), member(4)]);
    expect(changes).toHaveLength(1);
  });

  test('keeps no key with a member that is leaving, itself included', () => {
    const roster = new MemoryRoster(member(1), [member(2)], { timers: new SimulatedClock() });
    expect(roster.keepers('blob:x')).toHaveLength(2);
    roster.set([member(1, { leaving: true }), member(2)]);
    expect(roster.keepers('blob:x')).toEqual([member(2)]);
    expect(roster.self.leaving).toBe(true);
  });
});
