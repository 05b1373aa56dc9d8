import { IndexCluster } from '../support/index-cluster.ts';
import { routerConformance } from './router.ts';

routerConformance('Libp2pRouter', async () => {
  const cluster = new IndexCluster({ gossips: true });
  for (let index = 0; index < 6; index += 1) await cluster.add(`the-agent-${index}`);
  return {
    routers: new Map([...cluster.agents].map(([name, { router }]) => [name, router])),
    settled: async () => {
      await Promise.all([...cluster.agents.values()].map(({ router }) => router.flush()));
    },
    teardown: async () => {
      await Promise.all([...cluster.agents.values()].map(({ router }) => router.stop(AbortSignal.timeout(1_000))));
    },
  };
});
