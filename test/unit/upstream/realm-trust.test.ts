import { expect, test } from 'vitest';
import { mayHaveCredentials } from '../../../src/upstream/realm-trust.ts';

test.each([
  ['auth.docker.io', ['docker.io', 'registry-1.docker.io'], true],
  ['ghcr.io', ['ghcr.io'], true],
  ['gitlab.com', ['registry.gitlab.com'], true],
  ['gitlab.example.co.uk', ['registry.example.co.uk'], true],
  ['docker-auth.elastic.co', ['docker.elastic.co'], true],
  ['sso.redhat.com', ['registry.redhat.io'], true],
  ['10.0.0.2', ['registry.local', '10.0.0.2'], true],
  ['localhost', ['localhost'], true],
  ['[::1]', ['[::1]'], true],

  ['evil.test', ['docker.io', 'registry-1.docker.io'], false],
  ['notdocker.io', ['docker.io'], false],
  ['docker.io.evil.test', ['docker.io'], false],
  ['evil.co.uk', ['registry.example.co.uk'], false],
  ['co.uk', ['registry.example.co.uk'], false],
  ['evil.azurecr.io', ['mine.azurecr.io'], false],
  ['evil.s3.amazonaws.com', ['1.dkr.ecr.eu-central-1.amazonaws.com'], false],
  ['evil.other.svc.cluster.local', ['registry.mine.svc.cluster.local'], false],
  ['10.0.0.3', ['10.0.0.2'], false],
  ['1.0.0.2', ['10.0.0.2'], false],
  ['other', ['registry'], false],
  ['evil.io', ['quay.io'], false],
])('%s for %j: %s', (realm, hosts, expected) => {
  expect(mayHaveCredentials(realm, hosts)).toBe(expected);
});
