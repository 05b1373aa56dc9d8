/** Agents that are told something at once: a thousand handshakes at once would be late, all of them. */
const AT_ONCE = 8;

/** @param use never rejects. */
export async function fewAtOnce<T>(items: readonly T[], use: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const work = async () => {
    for (const item of waiting) await use(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}
