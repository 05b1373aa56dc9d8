#!/usr/bin/env node
/**
 * The process. Nothing is imported before Node's version is known to be one that can read it.
 */
const NEEDED_MAJOR = 24;

if (Number(process.versions.node.split('.')[0]) < NEEDED_MAJOR) {
  process.stderr.write(
    `windlass needs Node ${NEEDED_MAJOR} or newer; this is ${process.version}: in a checkout run npm ci, then npm start or npm exec windlass\n`,
  );
  process.exit(1);
}

// To the first process of a container the kernel sends only what it listens to: else SIGTERM would be lost on a command
// that does not, and on the agent while it loads. Any other process ends by them anyway.
if (process.pid === 1) {
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(
      name,
      (_name: string, number: number) => process.listenerCount(name) === 1 && process.exit(128 + number),
    );
  }
}

// Files are read and written in libuv's pool, which looks at this once, when it is first used: 4 would be few.
process.env.UV_THREADPOOL_SIZE ??= '8';

// What lives long here are a few maps, and bytes pass outside of V8's heap: it may be kept small (test/bench/README.md).
const HEAP_FLAGS = [
  // The space for new objects would grow to 64 MiB and never shrink: 50 MiB saved with 100,000 blobs.
  '--semi-space-growth-factor=1',
  // Collects before the heap has doubled: 64 clients leave much behind that is only just old.
  '--memory-saver-mode',
  // Which would also throw away what was compiled, again and again: a third of the CPU of a pull at 50 Mbit/s.
  '--no-flush-bytecode',
  // The optimising compiler takes 16 MiB over the one large function of undici's parser (WebAssembly), and keeps them.
  '--no-wasm-tier-up',
  '--no-wasm-dynamic-tiering',
];
const { setFlagsFromString } = await import('node:v8');
for (const flag of HEAP_FLAGS) setFlagsFromString(flag);

const { runProgram } = await import('./cli/program.ts');
process.exit(await runProgram(process.argv.slice(2)));
