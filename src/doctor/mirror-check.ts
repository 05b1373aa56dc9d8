import { Pool } from 'undici';
import { systemCode } from '../errors.ts';
import { MANIFEST_ACCEPT } from '../oci/manifest.ts';
import { PROBE_ASKED_HEADER, PROBE_REPOSITORY, probeImage } from '../oci/probe-image.ts';
import { DOCUMENTS } from './documents.ts';
import { type CheckResult, type Finding, firstOf, result } from './finding.ts';
import type { ImageName } from './image-name.ts';
import type { Subject } from './subject.ts';

/** Upstream may be slow: so many times longer than the mirror's own answers. */
const UPSTREAM_TIMES = 6;
const CONNECTIONS = 4;
/** Registries take manifests up to 4 MiB. */
const MOST_BYTES = 8 * 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly digest: string | undefined;
  /** Of the probe alone. */
  readonly askedBefore: string | string[] | undefined;
  /** What the mirror says of it, where it says something. */
  readonly message: string;
  /** Our own code of that error. */
  readonly code: string | undefined;
}

/**
 * Asks the mirror as containerd would: by HEAD, with `ns`, for each registry; of `image` for the image's manifest.
 * The first is answered without any registry, the second shows that upstream can be reached.
 */
export async function checkMirror(
  { mirrorUrl, hosts, answerMs }: Subject,
  image: ImageName | undefined,
  tag: string,
): Promise<CheckResult> {
  const mirror = new Pool(mirrorUrl, { connections: CONNECTIONS, connect: { timeout: answerMs } });
  try {
    const probe = (host: string) => ask(mirror, 'HEAD', `${PROBE_REPOSITORY}/manifests/${tag}`, host, answerMs);
    const first = await probe(hosts[0] ?? '');
    // Where nobody answers, nobody answers for the others either.
    const answers = await Promise.all(
      hosts.map(async (host, index) => ({
        host,
        answer: index === 0 || first instanceof Error ? first : await probe(host),
      })),
    );
    const findings = probeFindings(mirrorUrl, answers);
    const served = hosts.length - new Set(findings.flatMap(({ about = [] }) => about)).size;
    const seen = `${mirrorUrl} answers for ${served} of ${hosts.length} registries`;
    if (image === undefined || served === 0) return result('mirror', seen, findings);
    const { registry, repository, reference, text } = image;
    const answer = await ask(
      mirror,
      'GET',
      `${repository}/manifests/${reference}`,
      registry,
      UPSTREAM_TIMES * answerMs,
    );
    if (answer instanceof Error || answer.status !== 200) findings.push(imageFinding(image, answer));
    return result('mirror', `${seen}${findings.length === 0 ? `, and has ${text}` : ''}`, findings);
  } finally {
    await mirror.destroy();
  }
}

/**
 * Has the mirror been asked for the probe by this tag, before now?
 * @returns undefined where it does not say
 */
export async function wasAsked(
  { mirrorUrl, answerMs }: Subject,
  host: string,
  tag: string,
): Promise<boolean | undefined> {
  const mirror = new Pool(mirrorUrl, { connect: { timeout: answerMs } });
  try {
    const answer = await ask(mirror, 'HEAD', `${PROBE_REPOSITORY}/manifests/${tag}`, host, answerMs);
    return answer instanceof Error || answer.askedBefore === undefined ? undefined : answer.askedBefore === 'yes';
  } finally {
    await mirror.destroy();
  }
}

/** @returns the error where there is no answer */
async function ask(
  mirror: Pool,
  method: 'HEAD' | 'GET',
  path: string,
  host: string,
  timeoutMs: number,
): Promise<Answer | Error> {
  try {
    const { statusCode, headers, body } = await mirror.request({
      method,
      path: `/v2/${path}?ns=${encodeURIComponent(host)}`,
      headers: { accept: MANIFEST_ACCEPT },
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await textOf(body);
    const digest = headers['docker-content-digest'];
    return {
      status: statusCode,
      digest: typeof digest === 'string' ? digest : undefined,
      askedBefore: headers[PROBE_ASKED_HEADER],
      ...errorIn(text),
    };
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

function probeFindings(
  mirrorUrl: string,
  answers: readonly { readonly host: string; readonly answer: Answer | Error }[],
): Finding[] {
  const { digest } = probeImage().manifest;
  const of = (matches: (answer: Answer | Error) => boolean) =>
    answers.filter(({ answer }) => matches(answer)).map(({ host }) => host);
  const isRight = (answer: Answer) => answer.status === 200 && answer.digest === digest;
  const silent = of((answer) => answer instanceof Error);
  const denied = of((answer) => !(answer instanceof Error) && answer.status === 403);
  const odd = of((answer) => !(answer instanceof Error) && answer.status !== 403 && !isRight(answer));
  const findings: Finding[] = [];
  const add = (code: string, about: readonly string[], what: string, mend: string) => {
    if (about.length > 0) findings.push({ code, severity: 'error', what, mend, docs: DOCUMENTS.hostsToml, about });
  };
  const [error] = answers.flatMap(({ answer }) => (answer instanceof Error ? [answer] : []));
  add(
    'mirror-away',
    silent,
    `nothing answers at ${mirrorUrl} (${error === undefined ? '' : (systemCode(error) ?? error.message)}), where containerd is to ask first`,
    'start the agent; if it listens elsewhere, give windlass doctor and windlass configure its mirror.listen',
  );
  add(
    'mirror-denies',
    denied,
    `the agent does not mirror ${firstOf(denied)}: it answers 403, and containerd goes on to the registry`,
    'give the agent the same `registries` as windlass configure and windlass doctor, and restart it',
  );
  add(
    'mirror-strange',
    odd,
    `what answers at ${mirrorUrl} for ${firstOf(odd)} is no mirror of ours, or one of another version`,
    'see what listens there (ss -ltnp), and give it or mirror.listen another port; after an upgrade restart the agent',
  );
  return findings;
}

function imageFinding({ text, registry }: ImageName, answer: Answer | Error): Finding {
  const said = answer instanceof Error ? answer.message : `${answer.status}: ${answer.message}`;
  if (!(answer instanceof Error) && answer.code === 'UPSTREAM_UNAUTHORIZED') {
    return {
      code: 'image-private',
      severity: 'warning',
      what: `${registry} does not give ${text} to the mirror (${said}): it wants credentials, or has no such image and does not say so. containerd pulls it by itself, with those of the Pod`,
      mend: `if that is meant, nothing is to be mended; else look at the name, or give ${registry} credentials in the registries of all agents: whoever reaches a mirror then gets what they open`,
      docs: DOCUMENTS.imageNames,
    };
  }
  const [code, mend] = imageFault(registry, answer instanceof Error ? undefined : answer.status);
  const what = `the mirror does not have ${text} (${said})`;
  return { code, severity: 'error', what, mend, docs: DOCUMENTS.imageNames };
}

/** @param status undefined: no answer */
function imageFault(registry: string, status: number | undefined): [code: string, mend: string] {
  if (status === 403) return ['image-denied', `add ${registry} to the \`registries\` of all agents`];
  if (status === 404) {
    return ['image-not-found', 'look at the name'];
  }
  return [
    'image-unavailable',
    `see whether this node reaches ${registry} (DNS, firewall, upstream.proxy, upstream.ca); the agent's log has the reason`,
  ];
}

/** @throws where it is longer than any manifest */
async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    length += part.length;
    if (length > MOST_BYTES) throw new Error(`an answer of more than ${MOST_BYTES / 1024 / 1024} MiB`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function errorIn(body: string): Pick<Answer, 'message' | 'code'> {
  const none = { message: '', code: undefined };
  try {
    const { message, detail } = JSON.parse(body)?.errors?.[0] ?? {};
    if (typeof message !== 'string') return none;
    return { message: message.slice(0, 300), code: typeof detail?.windlass === 'string' ? detail.windlass : undefined };
  } catch {
    return none;
  }
}
