import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
// Loaded before the agent starts: it takes longer than a start that fails, where others have the processors.
import '../../../src/kubernetes/api-access.ts';
import { FakeKubeApi, SERVICE } from '../../support/fake-kube-api.ts';
import { InProcessAgent } from '../../support/in-process-agent.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.create();
});
afterEach(() => scratch.dispose());

test('an agent whose start fails looks for no others any more', async () => {
  const api = await FakeKubeApi.start(scratch);
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  scratch.defer(() => taken.close());
  const address = taken.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { agent } = await InProcessAgent.create({
    folder: scratch.join('n1'),
    settings: {
      mirror: { listen: [`127.0.0.1:${address.port}`] },
      p2p: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      cluster: { insecure: true },
      discovery: { kind: 'kubernetes', kubernetes: { service: SERVICE, port: 'p2p' } },
    },
    podRoot: api.root,
  });
  const starting = agent.start();
  starting.catch(() => undefined);
  await eventually(() => api.openWatches === 1, { what: 'a watch' });
  await expect(starting).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await eventually(() => api.openWatches === 0, { what: 'no watch' });
});
