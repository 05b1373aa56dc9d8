/** How many nodes the large scenarios have; fewer (LAB_NODES=8) for a machine that carries no more. */
export const MOST_NODES = Number(process.env.LAB_NODES ?? 16);
