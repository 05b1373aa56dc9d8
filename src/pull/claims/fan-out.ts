import type { KeeperContext } from './keeper-context.ts';
import type { Claim } from './messages.ts';
import { Rates } from './rates.ts';

const HOP_SECONDS = 0.005;

/** 2; or 1, a chain, where upstream is as fast as a node can send, and the chain is short beside the blob. */
export function fanOut({ rates, roster }: KeeperContext, claim: Claim, sizeBytes: number | undefined): number {
  const rate = rates.registry(Rates.registryOf(claim.source));
  if (rate === undefined || sizeBytes === undefined || !rates.fillsAnUplink(rate)) return 2;
  return roster.members().length * HOP_SECONDS < sizeBytes / rate ? 1 : 2;
}
