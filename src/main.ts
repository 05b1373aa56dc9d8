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

// Files are read and written in libuv's pool, which looks at this once, when it is first used: 4 would be few.
process.env.UV_THREADPOOL_SIZE ??= '8';

// V8 lets the space for new objects grow to 64 MiB and never gives it back; what lives long here are a few maps, and
// bytes pass outside of it. Kept small it costs no speed and saves 50 MiB with 100,000 blobs (test/bench/README.md).
const { setFlagsFromString } = await import('node:v8');
setFlagsFromString('--semi-space-growth-factor=1');

const { runProgram } = await import('./cli/program.ts');
process.exit(await runProgram(process.argv.slice(2)));
