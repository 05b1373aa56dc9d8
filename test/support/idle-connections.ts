/**
 * Opens connections and sends nothing on them, in a process of its own (the limit of open files is per process).
 * argv: port, count. Prints `open` when all are there, `closed N` a moment after the other side closed some.
 */
import { connect } from 'node:net';

const [port, count] = process.argv.slice(2).map(Number);
let open = 0;
let closed = 0;
for (let i = 0; i < (count ?? 0); i += 1) {
  const socket = connect({ host: '127.0.0.1', port: port ?? 0 });
  socket.on('connect', () => {
    open += 1;
    if (open === count) process.stdout.write('open\n');
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    closed += 1;
    process.stdout.write(`closed ${closed}\n`);
  });
  // The accept queue is short.
  if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 5));
}
