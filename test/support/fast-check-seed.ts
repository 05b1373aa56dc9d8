import { configureGlobal } from 'fast-check';

/** CI runs all once: what it checks is the same each time. To look further: FC_SEED=random, or any number. */
const { FC_SEED = '20261125' } = process.env;
if (FC_SEED !== 'random') configureGlobal({ seed: Number(FC_SEED) });
