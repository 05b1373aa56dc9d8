/**
 * What is held, served to a client on the same node, beside nginx with sendfile serving the same bytes:
 * `node test/bench/local-hit.ts [PAIRS]`. curl takes 1 GiB; wrk (if it is installed) asks for a manifest by digest.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { freePorts } from '../../src/demo/free-ports.ts';
import { AgentProcess } from '../support/agent-process.ts';
import { run, which } from '../support/commands.ts';
import { Daemon } from '../support/daemon.ts';
import { buildImage, digestOf, seededBytes } from '../support/image.ts';
import { Scratch } from '../support/scratch.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { median, spread } from './statistics.ts';

const GIB = 1024 ** 3;

const pairs = Number(process.argv[2] ?? 5);
const scratch = await Scratch.create();
try {
  const blob = seededBytes('local hit', GIB);
  const digest = digestOf(blob);
  const { manifest } = buildImage({ seed: 'local hit', layerBytes: [1000, 1000, 1000, 1000] });
  const upstream = await ScriptedUpstream.start();
  scratch.defer(() => upstream.stop());
  upstream.serve(`library/x/blobs/${digest}`, blob);
  upstream.serve(`library/x/manifests/${manifest.digest}`, manifest.bytes, { 'content-type': manifest.mediaType });
  const agent = await AgentProcess.start(scratch, {
    registries: { 'docker.io': `http://${upstream.address}` },
    settings: { log: { level: 'info' } },
  });
  const nginx = await startNginx(scratch, blob, manifest.bytes);
  const blobUrls = [`${nginx.url}/blob`, `${agent.mirrorUrl}/v2/library/x/blobs/${digest}`];
  const manifestUrls = [`${nginx.url}/manifest`, `${agent.mirrorUrl}/v2/library/x/manifests/${manifest.digest}`];

  const take = async (url: string, pid: number) => {
    const before = await cpuSeconds(pid);
    const { stdout } = await run('curl', ['-sS', '--fail', '-o', '/dev/null', '-w', '%{time_total}', url]);
    return { seconds: Number(stdout), cpu: (await cpuSeconds(pid)) - before };
  };
  const taken: { seconds: number; cpu: number }[][] = [[], []];
  for (let i = 0; i <= pairs; i += 1) {
    for (const [who, url] of blobUrls.entries()) {
      const result = await take(url, who === 0 ? nginx.workerPid : agent.pid);
      if (i > 0) taken[who]?.push(result);
    }
  }
  const [byNginx = [], byAgent = []] = taken;
  console.log(
    `1 GiB held blob: speed ÷ nginx ${spread(byNginx.map(({ seconds }, i) => seconds / (byAgent[i]?.seconds ?? Number.NaN)))}; ` +
      `CPU-s per GiB: nginx ${median(byNginx.map(({ cpu }) => cpu)).toFixed(2)}, agent ${median(byAgent.map(({ cpu }) => cpu)).toFixed(2)}`,
  );

  if (which('wrk') === undefined) {
    console.log('manifests: skipped, wrk is not installed');
  } else {
    const rates: number[][] = [[], []];
    for (let i = 0; i < pairs; i += 1) {
      for (const [who, url] of manifestUrls.entries()) {
        const { stdout } = await run('wrk', ['-t1', '-c16', '-d3s', url]);
        rates[who]?.push(Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]));
      }
    }
    const [nginxRates = [], agentRates = []] = rates;
    console.log(
      `held manifest by digest: nginx ${spread(nginxRates, 0)} GET/s, agent ${spread(agentRates, 0)}; ` +
        `ratio ${spread(agentRates.map((rate, i) => rate / (nginxRates[i] ?? Number.NaN)))}`,
    );
  }
} finally {
  await scratch.dispose();
}

async function startNginx(scratch: Scratch, blob: Buffer, manifest: Buffer) {
  const command = which('nginx');
  if (command === undefined) throw new Error('nginx is not installed');
  const folder = scratch.join('nginx');
  await mkdir(`${folder}/www`, { recursive: true });
  await writeFile(`${folder}/www/blob`, blob);
  await writeFile(`${folder}/www/manifest`, manifest);
  const [port = 0] = await freePorts(1);
  await writeFile(
    `${folder}/nginx.conf`,
    `daemon off; worker_processes 1; user root; pid ${folder}/pid; error_log stderr;
events { worker_connections 256; }
http {
  sendfile on; tcp_nopush on; access_log off; keepalive_requests 100000000;
  client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3;
  uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
  server { listen 127.0.0.1:${port}; root ${folder}/www; }
}`,
  );
  const url = `http://127.0.0.1:${port}`;
  const daemon = new Daemon(scratch, 'nginx', command, ['-c', `${folder}/nginx.conf`]);
  await daemon.ready(async () => (await fetch(`${url}/manifest`)).ok);
  const children = await readFile(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8');
  return { url, workerPid: Number(children.trim().split(' ')[0]) };
}
