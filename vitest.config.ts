import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const project = (name: string, include: string[], extra: object = {}) => ({
  extends: true as const,
  test: { name, include, ...extra },
});

/** Tests without daemons: in memory, on loopback, in temporary folders. */
const files = (ending: string) => ['unit', 'conformance', 'property'].map((kind) => `test/${kind}/**/*${ending}`);

const beside = {
  setupFiles: ['test/support/fast-check-seed.ts'],
  // Above what `eventually` waits, so that it can say for what.
  testTimeout: 60_000,
  // vitest leaves a core free, which would be half of a small machine.
  maxWorkers: Math.max(2, availableParallelism() - 1),
  sequence: { groupOrder: 0 },
};

/** Tests that start daemons run one file at a time: two cores. */
const alone = {
  globalSetup: ['test/support/global-setup.ts'],
  fileParallelism: false,
  testTimeout: 180_000,
  hookTimeout: 600_000,
  // After the others, so that nothing runs beside them.
  sequence: { groupOrder: 1 },
};

export default defineConfig({
  test: {
    environment: 'node',
    // Reaching it is a failure, so it is generous.
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    projects: [
      // What a person runs every few minutes; files that take some seconds each are `*.slow.test.ts`.
      project('unit', files('.test.ts'), { ...beside, exclude: files('.slow.test.ts') }),
      project('slow', files('.slow.test.ts'), beside),
      project('integration', ['test/integration/**/*.test.ts'], alone),
      project('e2e', ['test/e2e/**/*.test.ts'], { ...alone, testTimeout: 300_000, sequence: { groupOrder: 2 } }),
    ],
  },
});
