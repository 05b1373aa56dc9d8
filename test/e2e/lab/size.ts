/** How many nodes the large scenarios have; fewer (LAB_NODES=8) for a machine that carries no more. */
export const MOST_NODES = Number(process.env.LAB_NODES ?? 16);

/**
 * Were we told how many nodes this machine can carry? Then what depends on its pace is looked at as well: on two cores 16
 * agents that relay leave no processor idle, and what a child lags behind a writer that is killed is a matter of those.
 */
export const STRICT = process.env.LAB_NODES !== undefined;

/** A partition is a matter of bounds in time: of so many nodes, unless we were told. */
export const PARTED_NODES = STRICT ? MOST_NODES : 8;

/**
 * Of the rates that up to eight nodes have. At 50 Mbit/s sixteen agents and their clients leave two cores little: where
 * something else runs beside them a keeper may be silent for 2 s, a deputy grants, and one blob is asked for twice. Where
 * we were told that the machine carries them, they have the whole.
 */
export const rateScale = (nodes: number): number => (nodes > 8 && !STRICT ? 0.5 : 1);
