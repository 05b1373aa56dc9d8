import { isIP } from 'node:net';

/** Token servers outside of their registry's own domain, as their operators document them. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  'dhi.io': ['auth.docker.io'],
  'nvcr.io': ['authn.nvidia.com'],
  'registry.redhat.io': ['sso.redhat.com'],
};

/** Below these each name belongs to somebody else, so a shared ending says nothing. */
const SHARED_SUFFIXES = [
  'amazonaws.com',
  'amazonaws.com.cn',
  'azurecr.io',
  'azurewebsites.net',
  'cloudapp.azure.com',
  'cloudfront.net',
  'cluster.local',
  'github.io',
  'gitlab.io',
  'googleapis.com',
  'herokuapp.com',
  'jfrog.io',
  'local',
  'localhost',
  'nip.io',
  'ocir.io',
  'on.aws',
  'pkg.dev',
  'run.app',
  'sslip.io',
  'svc',
  'windows.net',
];

/** Endings such as co.uk: a short second level below a country. */
const COUNTRY_SECOND_LEVEL = /^(?:ac|co|com|edu|gob|gov|go|ne|net|or|org)\.[a-z]{2}$/;

/**
 * May stored credentials be shown to this token server? Only where it is the registry's own host, on whatever
 * port, in its own domain, or where the registry's operator says so. Not a public suffix list: a wrong "no" costs
 * an anonymous token and a log line.
 * @param hosts the registry's host names, without port: as clients say it, and the endpoint's.
 */
export function mayHaveCredentials(realmHost: string, hosts: readonly string[]): boolean {
  return hosts.some((host) => {
    if (realmHost === host || EXCEPTIONS[host]?.includes(realmHost) === true) return true;
    const domain = ownDomain(host);
    return domain !== undefined && (realmHost === domain || realmHost.endsWith(`.${domain}`));
  });
}

/** The domain that one owner has: `example.co.uk` of `registry.example.co.uk`; undefined if only the host itself is. */
function ownDomain(host: string): string | undefined {
  if (isIP(host.replace(/^\[|\]$/g, '')) !== 0) return undefined;
  const labels = host.split('.');
  const last = labels.slice(-2).join('.');
  const domain = COUNTRY_SECOND_LEVEL.test(last) ? labels.slice(-3).join('.') : last;
  const shared = SHARED_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
  return shared || domain.split('.').length < 2 || COUNTRY_SECOND_LEVEL.test(domain) ? undefined : domain;
}
