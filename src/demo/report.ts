import type { ClientReport } from './client.ts';
import type { ContainerdReport } from './containerd.ts';
import type { NodeReport } from './nodes.ts';
import { type DemoResult, type KillMeasurements, mib } from './result.ts';
import type { Terminal } from './terminal.ts';

/** What a person reads at the end: who got what, what upstream saw, and in words what that shows. */
export function renderResult(result: DemoResult, terminal: Terminal): string {
  const { paint, marks, columns } = terminal;
  const { upstream, image, servedBytes } = result;
  const { requests } = upstream;
  const head = (first: string, ...cells: string[]): string => paint('bold', row(first, cells));
  const digests = image.blobs + image.manifests;
  return [
    head('client', 'got', 'time', 'digests'),
    ...result.clients.map((client) => clientRow(client, digests)),
    containerdRow(result.containerd, terminal),
    '',
    ...nodesTable('node', result.nodes, terminal),
    head('upstream', 'requests', 'bytes'),
    row('the tag, HEAD', [`${requests['HEAD tag'] ?? 0}`, '']),
    row('manifests, GET', [`${requests['GET manifest'] ?? 0}`, '']),
    row('blobs, GET', [`${requests['GET blob'] ?? 0}`, '']),
    paint(
      'bold',
      row('together', [`${upstream.total}`, mib(upstream.sentBytes), `${result.ratio.toFixed(2)}× the image`]),
    ),
    paint('dim', row('without a mirror', ['', mib(servedBytes), `${(servedBytes / image.sizeBytes).toFixed(2)}×`])),
    '',
    ...(result.kill === undefined ? [] : killTable(result.kill, terminal)),
    ...result.checks.flatMap(({ held, text }) => {
      const [first = '', ...rest] = wrap(text, Math.min(columns - 1, 96) - 5);
      const mark = held ? paint('green', marks.yes.padEnd(2)) : paint('red', marks.no.padEnd(2));
      return [`  ${mark} ${first}`, ...rest.map((line) => `     ${line}`)];
    }),
    '',
    result.ok
      ? paint('bold', '  Many pull, one haul: that is all that Windlass is about.')
      : paint('red', '  Something did not hold; see above.'),
  ]
    .join('\n')
    .replaceAll('×', marks.times);
}

export function renderNext(): string {
  return [
    '  Next',
    '    npm start                     the agent on this machine, at 127.0.0.1:5050',
    '    skopeo copy --src-tls-verify=false \\',
    '      docker://127.0.0.1:5050/docker.io/library/alpine:3 dir:/tmp/alpine',
    '    ctr images pull --hosts-dir /etc/containerd/certs.d \\',
    '      docker.io/library/alpine:3',
    '  README.md says how to point containerd, CRI-O, podman and Docker at it.',
  ].join('\n');
}

export interface KeptAddresses {
  readonly mirrorUrl: string;
  readonly registryUrl: string;
  readonly statusUrl: string;
  /** `registry.example/windlass/demo:1` */
  readonly image: string;
}

export function renderKept({ mirrorUrl, registryUrl, statusUrl, image }: KeptAddresses): string {
  return [
    '  Still running, until Ctrl-C',
    `    mirror     ${mirrorUrl}`,
    `    metrics    ${statusUrl}/metrics`,
    `    registry   ${registryUrl}, as ${image}`,
    '    skopeo copy --src-tls-verify=false \\',
    `      docker://${new URL(mirrorUrl).host}/${image} dir:/tmp/demo`,
  ].join('\n');
}

function killTable(kill: KillMeasurements, terminal: Terminal): string[] {
  const { paint } = terminal;
  const { image, upstream, direct, victim } = kill;
  const ratio = `${(upstream.sentBytes / image.sizeBytes).toFixed(2)}× the second image`;
  return [
    ...nodesTable(victim === undefined ? 'second image' : `kill -9 ${victim.name}`, kill.nodes, terminal).slice(0, -1),
    paint('bold', row('agents asked for', ['', mib(upstream.sentBytes), ratio])),
    ...(direct.sentBytes === 0
      ? []
      : [paint('dim', row('a client itself', ['', mib(direct.sentBytes), 'as its agent was gone']))]),
    '',
  ];
}

function nodesTable(title: string, nodes: readonly NodeReport[], { paint }: Terminal): string[] {
  const line = (first: string, cells: readonly string[]): string =>
    `  ${first.padEnd(15)}${cells.map((cell) => cell.padStart(14)).join('')}`.trimEnd();
  return [
    paint('bold', line(title, ['from upstream', 'from peers', 'to peers', 'held'])),
    ...nodes.map(({ name, upstreamBytes, peerBytes, sentBytes, heldBytes, killed }) => {
      const text = line(name, [...[upstreamBytes, peerBytes, sentBytes].map(mib), killed ? 'killed' : mib(heldBytes)]);
      return killed ? paint('red', text) : text;
    }),
    '',
  ];
}

function clientRow(
  { name, manner, outcome, receivedBytes, verified, timeMs, error }: ClientReport,
  digests: number,
): string {
  const whoIs = { whole: name, ranges: `${name}, in ranges`, quits: `${name}, quits` }[manner];
  const checked = `${verified} of ${digests} verified`;
  const note = error === undefined ? checked : `${checked}; ${error}`;
  return row(whoIs, [mib(receivedBytes), seconds(timeMs), outcome === 'quit' ? `${checked}, then it left` : note]);
}

function containerdRow(report: ContainerdReport, { paint }: Terminal): string {
  switch (report.outcome) {
    case 'skipped':
      return paint('dim', `  containerd       skipped: ${report.reason}`);
    case 'failed':
      return row('containerd', ['', '', `failed: ${report.error}`]);
    case 'pulled':
      return row('containerd', ['', seconds(report.timeMs), report.unpacked ? 'verified and unpacked' : 'verified']);
  }
}

function row(first: string, cells: readonly string[]): string {
  const [a = '', b = '', c = ''] = cells;
  return `  ${first.padEnd(15)} ${a.padStart(10)} ${b.padStart(10)}   ${c}`.trimEnd();
}

function seconds(timeMs: number): string {
  return `${(timeMs / 1000).toFixed(1)} s`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
