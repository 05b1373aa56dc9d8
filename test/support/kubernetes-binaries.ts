import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { cacheFolder } from './containerd-binaries.ts';
import { goModOfKubernetes, KUBERNETES_VERSION } from './kube-apiserver-binary.ts';

const FOLDER = join(cacheFolder(), `kubernetes-${KUBERNETES_VERSION}-${process.arch}`);
const COMMANDS = ['kubectl', 'kubelet', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'] as const;

/** What holds a Pod's namespaces: it waits, and buries orphans. */
const PAUSE = `package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			var status syscall.WaitStatus
			if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
`;

/** The folder of all commands of a cluster but the API server's, and of `pause`; or a reason why there is none. */
export function builtKubernetes(): { readonly folder: string } | string {
  const whole = [...COMMANDS, 'pause'].every((command) => existsSync(join(FOLDER, command)));
  return whole ? { folder: FOLDER } : `Kubernetes ${KUBERNETES_VERSION} is not built (it takes Go 1.26)`;
}

/** Builds them into the cache if they are not there: two minutes after the API server, else five. */
export async function buildKubernetes(): Promise<void> {
  if (typeof builtKubernetes() !== 'string') return;
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(`${FOLDER}.`);
  try {
    await writeFile(join(folder, 'go.mod'), await goModOfKubernetes(folder));
    const version = ['component-base/version', 'client-go/pkg/version'].map(
      (part) => `-X k8s.io/${part}.gitVersion=v${KUBERNETES_VERSION}`,
    );
    await build(
      folder,
      version,
      COMMANDS.map((command) => `k8s.io/kubernetes/cmd/${command}`),
    );
    await mkdir(join(folder, 'pause.go'));
    await writeFile(join(folder, 'pause.go/main.go'), PAUSE);
    await writeFile(join(folder, 'pause.go/go.mod'), 'module windlass.test/pause\n');
    await run('go', ['build', '-ldflags', '-s -w', '-o', '../pause', '.'], {
      env: { GOFLAGS: '', CGO_ENABLED: '0' },
      cwd: join(folder, 'pause.go'),
    });
    await rm(join(folder, 'pause.go'), { recursive: true });
    // Whole or not at all; where another run was faster, its folder stays.
    await rename(folder, FOLDER).catch((error) => {
      if (typeof builtKubernetes() === 'string') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function build(folder: string, flags: readonly string[], packages: readonly string[]): Promise<void> {
  // Others may measure on this machine.
  const go = ['-n', '19', 'go', 'build', '-ldflags', ['-s', '-w', ...flags].join(' '), '-o', `${folder}/`];
  await run('nice', [...go, ...packages], {
    env: { GOFLAGS: '-mod=mod -trimpath -buildvcs=false -p=2', CGO_ENABLED: '0' },
    cwd: folder,
    timeoutMs: 1_800_000,
  });
}
