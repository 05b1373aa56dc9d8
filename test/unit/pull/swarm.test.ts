import { describe, expect, it } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { Swarm } from '../../../src/pull/swarm.ts';
import { WIRE_VERSION } from '../../../src/routing/member.ts';
import { logger, ORIGIN, OTHER } from './pull-fixture.ts';
import { digestOf } from './scripted-source.ts';

const DIGEST = digestOf(Buffer.from('a blob'));

const unused = async () => {
  throw new Error('not of this test');
};

/** @param fingerprint of a node's credentials */
function swarmOf(fingerprint?: (origin: RepositoryName) => Promise<string | undefined>): Swarm {
  const self = {
    peerId: 'self',
    incarnation: 1,
    sequence: 1,
    nodeName: 'self',
    zone: '',
    dataAddress: 'self:5051',
    p2pAddresses: [],
    wireVersion: WIRE_VERSION,
    leaving: false,
  };
  return new Swarm({
    claims: { claim: unused, held: () => {}, left: () => {} },
    streams: { open: unused },
    roster: { self, get: () => undefined },
    sign: () => new Uint8Array(),
    verify: () => false,
    ...(fingerprint === undefined ? {} : { fingerprint }),
    logger,
    metrics: new Metrics(),
  });
}

describe('what claims are made of', () => {
  const anonymous = [swarmOf(), swarmOf(async () => undefined)];
  const [alice, again, bob] = [swarmOf(async () => 'A'), swarmOf(async () => 'A'), swarmOf(async () => 'B')];

  it('is one tag to nodes without credentials, another to those with the same, another to those with others', async () => {
    const keys = await Promise.all([...anonymous, alice, again, bob].map((swarm) => swarm.tagKey(ORIGIN, 'v1')));
    const open = 'tag:docker.io/library/one:v1';
    expect(keys).toEqual([open, open, `${open}#A`, `${open}#A`, `${open}#B`]);
  });

  it('has what upstream answered belong to the credentials that it was asked with', async () => {
    const sources = await Promise.all([...anonymous, alice, again, bob].map((swarm) => swarm.sourceOf(ORIGIN)));
    const open = 'docker.io/library/one';
    expect(sources).toEqual([open, open, `${open}#A`, `${open}#A`, `${open}#B`]);
  });

  it('asks for the credentials of that very registry and repository', async () => {
    const swarm = swarmOf(async ({ registry, repository }) => (registry === 'ghcr.io' ? repository : undefined));
    expect(await swarm.tagKey(ORIGIN, 'v1')).toBe('tag:docker.io/library/one:v1');
    expect(await swarm.tagKey(OTHER, 'v1')).toBe('tag:ghcr.io/two:v1#two');
    expect(await swarm.sourceOf(OTHER)).toBe('ghcr.io/two#two');
  });

  it("is one blob to all: what has its digest is nobody's in particular", () => {
    expect(new Set([...anonymous, alice, bob].map((swarm) => swarm.blobKey(DIGEST)))).toEqual(
      new Set([`blob:${DIGEST}`]),
    );
  });
});
