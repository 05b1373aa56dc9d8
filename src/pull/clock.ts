/** For lru-cache, which else keeps the clock that it found when it was loaded: tests drive the global one. */
export const clock = { now: () => performance.now() };
