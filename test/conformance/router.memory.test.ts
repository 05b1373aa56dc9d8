import { MemoryRouter, type MemoryRouting } from '../../src/routing/memory-router.ts';
import { routerConformance } from './router.ts';

routerConformance('MemoryRouter', async () => {
  const routing: MemoryRouting = new Map();
  const names = ['the-agent-0', 'the-agent-1', 'the-agent-2'];
  return {
    routers: new Map(names.map((name) => [name, new MemoryRouter(routing, name)])),
    settled: async () => {},
    teardown: async () => {},
  };
});
