import { describe, expect, test } from 'vitest';
import { type Mirror, mergeHostsToml, mirrorFault } from '../../../src/containerd/hosts-toml.ts';

const URL = 'http://127.0.0.1:5050';
const LINES = `# windlass: begin
[host."${URL}"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "1s"
# windlass: end
`;

function merged(prior: string | undefined, mirror: Partial<Mirror> = {}): string {
  const result = mergeHostsToml(prior, { url: URL, ...mirror });
  if (result.kind !== 'text') throw new Error(JSON.stringify(result));
  return result.text;
}

describe('a file that is not there yet', () => {
  test('has the registry itself, its certificates, and the mirror', () => {
    expect(merged(undefined, { server: 'https://quay.io', serverLines: ['ca = ["a.crt"]'] })).toBe(
      `# By \`windlass configure\`; \`windlass cleanup\` takes it away.\nserver = "https://quay.io"\nca = ["a.crt"]\n\n${LINES}`,
    );
  });

  test('has no line of the server where containerd is to find it itself; an empty file is as good as none', () => {
    expect(merged('')).toBe(`# By \`windlass configure\`; \`windlass cleanup\` takes it away.\n\n${LINES}`);
  });
});

describe('a file of somebody else', () => {
  test('keeps every byte, with the mirror before its first host and the comment above that', () => {
    const [above, below] = [
      'server = "https://quay.io"   # the server\nunknown = [ # [host."no"]\n  "]",\n]\n[header]\n  x = "1"\n\n',
      '# corp\n[host."https://corp"]\n  ca = "x"\n  [host."https://corp".header]\n    a = ["b"]\n',
    ];
    expect(merged(above + below)).toBe(`${above}${LINES}\n${below}`);
  });

  test('gets the mirror at its end if it has no host', () => {
    expect(merged('server = "https://a"')).toBe(`server = "https://a"\n\n${LINES}`);
  });

  test('may have its hosts below a table [host], as GKE writes them', () => {
    const prior = "server = 'a'\n\n[host]\n  [host.'http://10.0.0.1:5000']\n    capabilities = ['pull']\n";
    expect(merged(prior)).toBe(prior.replace("  [host.'", `${LINES}\n  [host.'`));
  });

  test('keeps its line ends', () => {
    expect(merged('server = "a"\r\n\r\n[host."b"]\r\n')).toBe(
      `server = "a"\r\n\r\n${`${LINES}\n`.replaceAll('\n', '\r\n')}[host."b"]\r\n`,
    );
  });

  test('is not taken in by what looks like a host within a string', () => {
    const prior = 'a = """\n[host."x"]\n# y"""\nb = \'\'\'\n[host."z"]\'\'\'\n[host."real"]\n';
    expect(merged(prior)).toBe(prior.replace('[host."real"]', `${LINES}\n[host."real"]`));
  });

  test('that asks the mirror first is fine as it is', () => {
    for (const host of [`[host."${URL}"]\n`, `[host."${URL}/"]\ncapabilities = ["Pull", "resolve", "push"]\n`]) {
      expect(mergeHostsToml(`${host}[host."https://b"]\n`, { url: URL })).toEqual({ kind: 'fine' });
    }
  });

  test.each([
    ['does not parse', '[host."https://a"]\ncapabilities = ["pull', /does not parse \(line 2\)/],
    ['has a value that containerd does not read', 'capabilities = ["fly"]\n', /^capabilities\.0 is not of the kind/],
    ['has its hosts in an inline table', 'host = { "https://a" = {} }\n', /none can be added/],
    ['has a host in an inline table below [host]', '[host]\n"https://a" = { capabilities = ["pull"] }\n', /in front/],
    ['has its hosts in dotted keys', '[host]\n"https://a".capabilities = ["pull"]\n', /in front/],
    ['has dotted keys before its headers', 'host."https://a".ca = "x"\n[host."https://b"]\n', /in front/],
    ['asks the mirror after others', `[host."https://a"]\n[host."${URL}"]\n`, /not as the first host/],
    ['asks the mirror for tags alone', `[host."${URL}"]\ncapabilities = ["resolve"]\n`, /without "pull"/],
  ])('that %s is left alone, and why', (_name, prior, why) => {
    expect(mergeHostsToml(prior, { url: URL })).toEqual({ kind: 'refused', why: expect.stringMatching(why) });
  });
});

describe('the mirror is asked first', () => {
  const own = (lines = '') => `[host."${URL}"]\n${lines}`;
  test.each<[string, string, string | undefined]>([
    ['alone', own(), undefined],
    [
      'before another, with all that it needs',
      `${own('capabilities = ["Pull", "resolve"]\n')}[host."https://a"]\n`,
      undefined,
    ],
    ['not when it is not named', '[host."https://a"]\n', 'not-named'],
    ['not after another', `[host."https://a"]\n${own()}`, 'not-first'],
    ['not for tags, without resolve', own('capabilities = ["pull"]\n'), 'capabilities'],
    ['not for blobs, without pull', own('capabilities = ["resolve"]\n'), 'capabilities'],
    ['but by HTTPS, with skip_verify', own('skip_verify = true\n'), 'https-first'],
    ['not when the file is half', own('capabilities = ["pu'), 'unparsable'],
  ])('%s', (_name, text, code) => {
    expect(mirrorFault(text, (origin) => origin === URL)?.code).toBe(code);
  });
});
