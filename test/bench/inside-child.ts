/** Pulls inside of a node when told to: one JSON of PullOptions a line in, one JSON of the outcome a line out. */
import { createInterface } from 'node:readline';
import { Pull, type PullOptions } from '../e2e/lab/pull.ts';

for await (const line of createInterface({ input: process.stdin })) {
  const options: PullOptions = JSON.parse(line);
  try {
    console.log(JSON.stringify(await new Pull(options).done));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
