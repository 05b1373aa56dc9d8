import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryBlocks } from '../../../src/store/memory-blocks.ts';
import { MemoryTail } from '../../../src/store/memory-tail.ts';

/** Blocks that are overwritten when they come back, as the next writer would. */
class CountedBlocks extends MemoryBlocks {
  taken = 0;

  override take() {
    this.taken += 1;
    return super.take();
  }

  override give(block: Uint8Array<SharedArrayBuffer>) {
    this.taken -= 1;
    block.fill(255);
    super.give(block);
  }
}

describe('a tail in memory', () => {
  it('reads as a slice of everything that was appended, never below its floor, and holds no more blocks than it must', () => {
    const blockBytes = 8;
    const step = fc.oneof(
      fc.record({ append: fc.uint8Array({ maxLength: 20 }) }),
      fc.record({ discard: fc.nat(150) }),
      fc.record({ hashed: fc.nat(150) }),
      fc.record({ read: fc.nat(150), length: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.nat(10), fc.array(step, { maxLength: 40 }), (start, steps) => {
        const blocks = new CountedBlocks(3, blockBytes);
        let hashed = start;
        const tail = new MemoryTail(start, blocks, () => hashed);
        const all = new Array<number>(start).fill(0);
        let floor = start;
        for (const act of steps) {
          if ('append' in act) {
            tail.append(act.append);
            all.push(...act.append);
            act.append.fill(254); // it keeps a copy
          } else if ('discard' in act) {
            tail.discard(act.discard);
            floor = Math.max(floor, Math.min(act.discard, all.length));
          } else if ('hashed' in act) {
            hashed = Math.max(hashed, Math.min(act.hashed, all.length));
            tail.discard(0);
          } else if (act.read < floor) {
            expect(() => tail.read(new Uint8Array(act.length), act.read)).toThrow(RangeError);
          } else {
            const target = new Uint8Array(act.length);
            const count = tail.read(target, act.read);
            expect([...target.subarray(0, count)]).toEqual(all.slice(act.read, act.read + act.length));
          }
          expect(tail.floor).toBe(floor);
          expect(tail.end).toBe(all.length);
          // What is discarded is still there for the thread that hashes.
          expect([...tail.parts(hashed)].flatMap((part) => [...part])).toEqual(all.slice(hashed));
          const first = Math.floor((Math.min(floor, hashed) - start) / blockBytes);
          expect(blocks.taken).toBe(Math.ceil((all.length - start) / blockBytes) - first);
        }
        tail.clear();
        expect(blocks.taken).toBe(0);
        expect(tail.end).toBe(all.length);
      }),
    );
  });
});
