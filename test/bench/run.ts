/** All benchmarks, one after the other, each in a process of its own: `npm run bench`, or `npm run bench cold-pull`. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BENCHMARKS = [
  'first-byte',
  'cold-pull',
  'local-hit',
  'store-start',
  'cold-start',
  'late-joiner',
  'warm-pull',
  'cpu-by-role',
  'peer-stream',
  'claims-simulation',
  'sixty-agents',
  'agent-start',
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !BENCHMARKS.includes(name));
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(', ')} (there are ${BENCHMARKS.join(', ')})`);
  process.exit(2);
}
for (const name of wanted.length > 0 ? wanted : BENCHMARKS) {
  console.log(`\n== ${name}`);
  const program = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: 'inherit' });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) process.exitCode = 1;
}
