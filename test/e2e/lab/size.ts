/**
 * How many nodes the large scenarios have. 16 is what they are written for (`npm run test:lab`); `npm test` takes half
 * of them: on two cores 16 agents, their clients and containerds are short of processors, and what then shows is that.
 */
export const MOST_NODES = Number(process.env.WINDLASS_LAB_NODES ?? 8);

/** Were we told how many nodes this machine can carry? Then bytes are looked at that depend on its pace. */
export const STRICT = process.env.WINDLASS_LAB_NODES !== undefined;
