import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, SYSTEM_PATH, tryCommand } from '../../support/commands.ts';
import { Daemon } from '../../support/daemon.ts';
import { inNamespace } from '../../support/in-namespace.ts';
import type { Scratch } from '../../support/scratch.ts';
import type { Host } from '../lab/network.ts';

const PORT = 6443;
const MOST_NODES = 9;
const SERVICES = '10.96.0.0/16';

export interface KubernetesBinaries {
  /** The API server's own. */
  readonly apiserver: string;
  /** Of all others. */
  readonly folder: string;
}

/** etcd, API server, controllers and scheduler, as real as they are, on a host of their own. */
export class ControlPlane {
  readonly #scratch: Scratch;
  readonly #host: Host;
  readonly #binaries: KubernetesBinaries;

  private constructor(scratch: Scratch, host: Host, binaries: KubernetesBinaries) {
    this.#scratch = scratch;
    this.#host = host;
    this.#binaries = binaries;
  }

  /** Resolves when the API answers. */
  static async start(scratch: Scratch, host: Host, binaries: KubernetesBinaries): Promise<ControlPlane> {
    const plane = new ControlPlane(scratch, host, binaries);
    await mkdir(plane.#path(), { recursive: true });
    await plane.#credentials();
    plane.#daemon('etcd', 'etcd', [
      ...['--data-dir', plane.#path('etcd'), '--unsafe-no-fsync'],
      ...['--listen-client-urls', 'http://127.0.0.1:2379', '--advertise-client-urls', 'http://127.0.0.1:2379'],
      ...['--listen-peer-urls', 'http://127.0.0.1:2380', '--initial-advertise-peer-urls', 'http://127.0.0.1:2380'],
      ...['--initial-cluster', 'default=http://127.0.0.1:2380'],
    ]);
    const apiserver = plane.#daemon('kube-apiserver', binaries.apiserver, [
      ...['--etcd-servers=http://127.0.0.1:2379', `--bind-address=${host.address}`, `--secure-port=${PORT}`],
      ...[`--advertise-address=${host.address}`, `--cert-dir=${plane.#path('certs')}`],
      ...[`--service-cluster-ip-range=${SERVICES}`, `--token-auth-file=${plane.#path('tokens.csv')}`],
      ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction', '--allow-privileged=true'],
      `--service-account-key-file=${plane.#path('sa.pub')}`,
      `--service-account-signing-key-file=${plane.#path('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      '--kubelet-preferred-address-types=InternalIP',
    ]);
    await writeFile(plane.kubeconfig, plane.kubeconfigFor('admin'));
    await apiserver.ready(async () => (await plane.tryKubectl(['get', '--raw', '/readyz'])).code === 0);
    for (const [name, ...args] of [
      [
        'kube-controller-manager',
        `--service-account-private-key-file=${plane.#path('sa.key')}`,
        `--root-ca-file=${plane.#path('certs/apiserver.crt')}`,
        '--use-service-account-credentials=true',
        '--node-monitor-grace-period=20s',
      ],
      ['kube-scheduler'],
    ] as const) {
      await writeFile(plane.#path(`${name}.kubeconfig`), plane.kubeconfigFor(name));
      plane.#daemon(name, join(binaries.folder, name), [
        ...[`--kubeconfig=${plane.#path(`${name}.kubeconfig`)}`, '--leader-elect=false', '--bind-address=127.0.0.1'],
        ...args,
      ]);
    }
    await plane.kubectl([
      ...['create', 'clusterrolebinding', 'lab-proxy', '--clusterrole=system:node-proxier'],
      '--user=system:kube-proxy',
    ]);
    return plane;
  }

  /** The admin's. */
  get kubeconfig(): string {
    return this.#path('admin.kubeconfig');
  }

  /** @param who `admin`, `kube-proxy`, or a node's name. JSON is YAML. */
  kubeconfigFor(who: string): string {
    const server = `https://${this.#host.address}:${PORT}`;
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'lab',
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: who } }],
      // Its own making, at its first start: it is its own CA.
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority': this.#path('certs/apiserver.crt') } }],
      users: [{ name: who, user: { token: `${who}-token` } }],
    });
  }

  /** As the admin, on the control plane's host. @returns stdout */
  async kubectl(args: readonly string[], input?: string): Promise<string> {
    const { stdout } = await run(...this.#command('kubectl', args), this.#options(input));
    return stdout;
  }

  tryKubectl(args: readonly string[], input?: string): ReturnType<typeof tryCommand> {
    return tryCommand(...this.#command('kubectl', args), this.#options(input));
  }

  /**
   * A script of bash, ended by the first command that fails, that finds kubectl and these commands by their names.
   * @returns what it said on stdout
   */
  async shell(
    script: string,
    options: { readonly cwd: string; readonly commands: Readonly<Record<string, string>> },
  ): Promise<string> {
    const bin = this.#path('bin');
    await mkdir(bin, { recursive: true });
    const commands = { kubectl: join(this.#binaries.folder, 'kubectl'), ...options.commands };
    for (const [name, path] of Object.entries(commands)) {
      await rm(join(bin, name), { force: true }); // of another version, perhaps
      await symlink(path, join(bin, name));
    }
    const bash = inNamespace(this.#host.namespace, 'bash', ['-euo', 'pipefail', '-c', script]);
    const home = { HOME: this.#path('home'), PATH: `${bin}:${SYSTEM_PATH}`, KUBECONFIG: this.kubeconfig };
    const { stdout } = await run(...bash, { cwd: options.cwd, env: home, timeoutMs: 600_000 });
    return stdout;
  }

  #command(name: string, args: readonly string[]): [command: string, args: readonly string[]] {
    return inNamespace(this.#host.namespace, join(this.#binaries.folder, name), args);
  }

  #options(input?: string) {
    return { env: { KUBECONFIG: this.kubeconfig }, ...(input === undefined ? {} : { input }) };
  }

  async #credentials(): Promise<void> {
    await run('openssl', ['genrsa', '-out', this.#path('sa.key'), '2048']);
    await run('openssl', ['rsa', '-in', this.#path('sa.key'), '-pubout', '-out', this.#path('sa.pub')]);
    const nodes = Array.from({ length: MOST_NODES }, (_, i) => `n${i}-token,system:node:n${i},n${i},system:nodes`);
    const components = ['kube-controller-manager', 'kube-scheduler', 'kube-proxy'];
    const lines = [
      'admin-token,admin,admin,system:masters',
      ...components.map((name) => `${name}-token,system:${name},${name}`),
      ...nodes,
    ];
    await writeFile(this.#path('tokens.csv'), `${lines.join('\n')}\n`);
  }

  #daemon(name: string, command: string, args: readonly string[]): Daemon {
    return new Daemon(this.#scratch, name, ...inNamespace(this.#host.namespace, command, args));
  }

  #path(...parts: string[]): string {
    return this.#scratch.join('control-plane', ...parts);
  }
}
