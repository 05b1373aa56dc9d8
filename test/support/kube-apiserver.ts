import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { freePorts } from '../../src/demo/free-ports.ts';
import { run } from './commands.ts';
import { Daemon } from './daemon.ts';
import { builtKubeApiserver } from './kube-apiserver-binary.ts';
import type { Scratch } from './scratch.ts';

const ACCOUNT = 'var/run/secrets/kubernetes.io/serviceaccount';
const ADMIN = 'admin-token';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A real API server of Kubernetes with an etcd of its own, on loopback. No nodes, no controllers. */
export class KubeApiserver {
  readonly port: number;
  readonly #scratch: Scratch;
  readonly #binary: string;
  readonly #etcdPort: number;
  #daemon: Daemon | undefined;
  #dispatcher: Agent | undefined;

  private constructor(scratch: Scratch, binary: string, port: number, etcdPort: number) {
    this.#scratch = scratch;
    this.#binary = binary;
    this.port = port;
    this.#etcdPort = etcdPort;
  }

  /** Resolves when it answers. */
  static async start(scratch: Scratch): Promise<KubeApiserver> {
    const binary = builtKubeApiserver();
    if (typeof binary === 'string') throw new Error(binary);
    const [port = 0, etcdPort = 0, etcdPeerPort = 0] = await freePorts(3);
    const server = new KubeApiserver(scratch, binary.path, port, etcdPort);
    const [client, peer] = [`http://127.0.0.1:${etcdPort}`, `http://127.0.0.1:${etcdPeerPort}`];
    const etcd = new Daemon(scratch, 'etcd', 'etcd', [
      ...['--data-dir', scratch.join('etcd'), '--unsafe-no-fsync'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]);
    await etcd.ready(async () => (await fetch(`${client}/health`)).ok);
    await run('openssl', ['genrsa', '-out', scratch.join('sa.key'), '2048']);
    await run('openssl', ['rsa', '-in', scratch.join('sa.key'), '-pubout', '-out', scratch.join('sa.pub')]);
    await writeFile(scratch.join('tokens.csv'), `${ADMIN},admin,admin,system:masters\n`);
    scratch.defer(() => server.#dispatcher?.destroy());
    await server.start();
    return server;
  }

  /** Again, after `kill`. */
  async start(): Promise<void> {
    const scratch = this.#scratch;
    const daemon = new Daemon(scratch, 'kube-apiserver', this.#binary, [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${this.port}`],
      ...[`--cert-dir=${scratch.join('certs')}`, `--token-auth-file=${scratch.join('tokens.csv')}`],
      ...['--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112', '--authorization-mode=Node,RBAC'],
      `--service-account-key-file=${scratch.join('sa.pub')}`,
      `--service-account-signing-key-file=${scratch.join('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
    ]);
    this.#daemon = daemon;
    await daemon.ready(() => this.#isReady());
  }

  async #isReady(): Promise<boolean> {
    this.#dispatcher ??= new Agent({ connect: { ca: await readFile(this.#scratch.join('certs/apiserver.crt')) } });
    try {
      return (await this.call('GET', '/readyz')).status === 200;
    } catch (error) {
      // Its own making, at its first start: it may have been read half written.
      await this.#dispatcher.destroy();
      this.#dispatcher = undefined;
      throw error;
    }
  }

  /** As a crash does it; etcd lives on. */
  async kill(): Promise<void> {
    await this.#daemon?.kill('SIGKILL');
  }

  /** @param token by default that of somebody who may do everything. */
  async call(
    method: Method,
    path: string,
    body?: object,
    token = ADMIN,
  ): Promise<{ readonly status: number; readonly text: string; readonly warnings: readonly string[] }> {
    const response = await request(`https://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': contentType(method, body) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(this.#dispatcher === undefined ? {} : { dispatcher: this.#dispatcher }),
    });
    const warnings = [response.headers.warning ?? []].flat();
    return { status: response.statusCode, text: await response.body.text(), warnings };
  }

  /** The same, and it must succeed. @returns the object that it answers with */
  async must(method: Method, path: string, body?: object): Promise<string> {
    const { status, text } = await this.call(method, path, body);
    if (status < 200 || status > 299) throw new Error(`${method} ${path}: ${status} ${text}`);
    return text;
  }

  /**
   * A token of a ServiceAccount, as the kubelet has one made for a Pod.
   * @param pod the name of one in that namespace that it is bound to, as those are
   */
  async tokenOf(namespace: string, account: string, pod?: string): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
    const text = await this.must('POST', path, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: pod === undefined ? {} : { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: pod } },
    });
    return String(JSON.parse(text).status.token);
  }

  /** What a Pod finds of its service account, below a folder that stands for `/`. @returns that folder */
  async writeAccount(namespace: string, token: string, pod = 'pod'): Promise<string> {
    const root = this.#scratch.join(pod);
    await mkdir(`${root}/${ACCOUNT}`, { recursive: true });
    await writeFile(`${root}/${ACCOUNT}/ca.crt`, await readFile(this.#scratch.join('certs/apiserver.crt')));
    await writeFile(`${root}/${ACCOUNT}/namespace`, namespace);
    await writeFile(`${root}/${ACCOUNT}/token`, token);
    return root;
  }

  /** For helm and kubectl, of somebody who may do everything. @returns its path */
  async writeKubeconfig(): Promise<string> {
    const path = this.#scratch.join('kubeconfig');
    const cluster = {
      server: `https://127.0.0.1:${this.port}`,
      'certificate-authority': this.#scratch.join('certs/apiserver.crt'),
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'admin', user: { token: ADMIN } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
      'current-context': 'test',
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }
}

/** A patch is one in steps, or one that is merged. */
function contentType(method: Method, body: object | undefined): string {
  if (method !== 'PATCH') return 'application/json';
  return Array.isArray(body) ? 'application/json-patch+json' : 'application/merge-patch+json';
}
